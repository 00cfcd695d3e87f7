"""Vectors become text for pgvector only if they are what the index holds."""

import numpy as np
import pytest

from clip_assets.index.search import literal


def test_a_vector_in_full() -> None:
    """Every number keeps its value as float32."""
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    read = np.array(literal(vector, 64).strip("[]").split(","), np.float32)
    assert np.array_equal(read, vector)


@pytest.mark.parametrize("vector", [np.zeros(3), np.zeros((1, 4)), np.array([0, 0, 0, np.nan])])
def test_what_is_refused(vector: np.ndarray) -> None:
    """Another shape, or a value that is not finite."""
    with pytest.raises(ValueError, match="expected 4 finite numbers"):
        literal(vector.astype(np.float32), 4)
