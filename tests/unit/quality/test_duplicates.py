"""Duplicates are found where they were planted, and nowhere else."""

import numpy as np
from numpy.typing import NDArray

from clip_assets.quality.duplicates import exact, near, spread


def _unit(rows: int, dim: int = 64) -> NDArray[np.float32]:
    vectors = np.random.default_rng(1).normal(size=(rows, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_exact() -> None:
    """Groups of equal hashes, the largest first; single ones are no group."""
    assert exact(["a", "b", "a", "c", "b", "a"]) == [[0, 2, 5], [1, 4]]
    assert exact(["a", "b"]) == []


def test_near_across_blocks() -> None:
    """A planted pair is found whether or not its rows fall into one block, the closest first."""
    vectors = _unit(5_000)
    planted = {(3, 40): 0.01, (17, 4_999): 0.02}
    for (first, second), noise in planted.items():
        vectors[second] = vectors[first] + noise * _unit(5_000)[second]
        vectors[second] /= np.linalg.norm(vectors[second])
    found = near(vectors, 0.97, most=10)
    assert [(pair.first, pair.second) for pair in found] == [(3, 40), (17, 4_999)]
    for pair in found:
        assert np.isclose(pair.cosine, vectors[pair.first] @ vectors[pair.second])


def test_near_is_bounded() -> None:
    """A collection of one picture gives no more pairs than were asked for."""
    assert len(near(np.repeat(_unit(1), 300, axis=0), 0.97, most=10)) == 10


def test_the_closest_of_too_many() -> None:
    """Where more are near than are asked for, it is the closest that are given, of all blocks."""
    vectors = _unit(2_000)
    vectors = vectors[:1] + 0.01 * vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.sort((vectors @ vectors.T)[np.triu_indices(2_000, k=1)])[::-1]
    found = near(vectors, 0.97, most=25)
    assert np.allclose([pair.cosine for pair in found], cosines[:25], atol=1e-6)


def test_near_of_nothing() -> None:
    """No rows, no pairs."""
    assert near(np.empty((0, 8), np.float32), 0.9, most=10) == []


def test_spread() -> None:
    """All rows where they are few, else so many, from the first to the last."""
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert spread(0, 10).tolist() == []
    many = spread(1_000_000, 50)
    assert (len(many), many[0], many[-1]) == (50, 0, 999_999)
