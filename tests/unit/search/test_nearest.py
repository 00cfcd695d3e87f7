"""Queries become bytes for pgvector only if they are what the index holds; plans have a price."""

import numpy as np
import pytest

from clip_assets.index.vector_type import VectorType
from clip_assets.search.nearest import Budget, QueryVector

both_types = pytest.mark.parametrize("vector_type", VectorType)


@pytest.mark.parametrize(
    ("vector_type", "number", "rounded"),
    [(VectorType.HALFVEC, ">f2", np.float16), (VectorType.VECTOR, ">f4", np.float32)],
)
def test_a_vector_on_the_wire(vector_type: VectorType, number: str, rounded: type) -> None:
    """Two bytes of dimension, two of nothing, then each number, big-endian, as wide as its type."""
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    wire = QueryVector(vector, 64, vector_type).wire
    assert wire[:4] == b"\x00\x40\x00\x00"
    assert np.array_equal(np.frombuffer(wire[4:], number), vector.astype(rounded))


@both_types
@pytest.mark.parametrize("vector", [np.zeros(3), np.zeros((1, 4)), np.array([0, 0, 0, np.nan])])
def test_what_is_refused(vector: np.ndarray, vector_type: VectorType) -> None:
    """Another shape, or a value that is not finite."""
    with pytest.raises(ValueError, match="expected 4 finite numbers"):
        QueryVector(vector.astype(np.float32), 4, vector_type)


def test_a_number_too_large_for_a_half() -> None:
    """What would become infinite on the wire is refused like an infinity; a wider type has it."""
    vector = np.array([1e6, 0], np.float32)
    with pytest.raises(ValueError, match="expected 2 finite numbers"):
        QueryVector(vector, 2, VectorType.HALFVEC)
    assert QueryVector(vector, 2, VectorType.VECTOR).wire


def test_comparing_pays_for_small_shares_of_large_tables() -> None:
    """A hundred times the rows are compared up to ten times as many: the share shrinks."""
    budget = Budget()
    assert budget.exact_rows(1_000_000) == pytest.approx(10 * budget.exact_rows(10_000))
