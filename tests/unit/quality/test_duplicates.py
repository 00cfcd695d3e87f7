"""Exactly the planted duplicates are found."""

import numpy as np
from numpy.typing import NDArray

from clip_assets.quality.duplicates import exact, near, spread


def _unit(rows: int, dim: int = 64) -> NDArray[np.float32]:
    vectors = np.random.default_rng(1).normal(size=(rows, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_equal_hashes_form_groups() -> None:
    """Groups come largest first; a hash that occurs once forms no group."""
    assert exact(["a", "b", "a", "c", "b", "a"]) == [[0, 2, 5], [1, 4]]
    assert exact(["a", "b"]) == []


def test_near_duplicates_are_found_across_blocks() -> None:
    """A pair is found whether or not both rows are in one block; the closest pair comes first."""
    vectors = _unit(5_000)
    planted = {(3, 40): 0.01, (17, 4_999): 0.02}
    for (first, second), noise in planted.items():
        vectors[second] = vectors[first] + noise * _unit(5_000)[second]
        vectors[second] /= np.linalg.norm(vectors[second])
    found = near(vectors, 0.97, most=10)
    assert [(pair.first, pair.second) for pair in found] == [(3, 40), (17, 4_999)]
    for pair in found:
        assert np.isclose(pair.cosine, vectors[pair.first] @ vectors[pair.second])


def test_the_number_of_pairs_is_bounded() -> None:
    """300 copies of one image give no more pairs than requested."""
    assert len(near(np.repeat(_unit(1), 300, axis=0), 0.97, most=10)) == 10


def test_the_closest_pairs_are_kept() -> None:
    """If there are more pairs than requested, the closest pairs across all blocks are kept."""
    vectors = _unit(2_000)
    vectors = vectors[:1] + 0.01 * vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.sort((vectors @ vectors.T)[np.triu_indices(2_000, k=1)])[::-1]
    found = near(vectors, 0.97, most=25)
    assert np.allclose([pair.cosine for pair in found], cosines[:25], atol=1e-6)


def test_no_rows_give_no_pairs() -> None:
    """An empty matrix is accepted."""
    assert near(np.empty((0, 8), np.float32), 0.9, most=10) == []


def test_spread_samples_rows_evenly() -> None:
    """All rows if they are few; otherwise the requested number, from the first to the last."""
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert spread(0, 10).tolist() == []
    many = spread(1_000_000, 50)
    assert (len(many), many[0], many[-1]) == (50, 0, 999_999)
