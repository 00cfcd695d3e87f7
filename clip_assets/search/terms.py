"""Combines several search terms into one vector."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_assets.errors import TermsError

_NOTHING = 1e-3  # a sum of unit vectors shorter than this has no meaningful direction


def together(
    vectors: Sequence[NDArray[np.float32]], weights: Sequence[float], dim: int
) -> NDArray[np.float32]:
    """Unit vector float32[dim]: the weighted sum of the vectors, each normalised to length 1.

    Raises TermsError if a vector is of another length or all zeros, or if the terms cancel each
    other out.
    """
    if any(len(vector) != dim for vector in vectors):
        raise TermsError(f"A vector for this release has {dim} numbers.")
    if list(weights) == [1.0] and abs(float(np.linalg.norm(vectors[0])) - 1) < _NOTHING:
        return vectors[0]
    total = np.zeros(dim)
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * unit(np.asarray(vector, np.float64))
    if np.linalg.norm(total) < _NOTHING * np.abs(weights).sum():
        raise TermsError("The terms cancel each other out. Change a weight, or leave one out.")
    return unit(total).astype(np.float32)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1. Raises TermsError if it is all zeros."""
    largest = np.abs(vector).max()
    if largest == 0:
        raise TermsError("A vector must not be all zeros.")
    scaled = vector / largest  # or its length might overflow
    result: NDArray[np.float64] = scaled / np.linalg.norm(scaled)
    return result
