"""Whether a shard's images look like those before it: its mean vector against the earlier ones.

A model with other weights, pixels normalised another way or a source that changed all move the mean
at once, long before anybody notices in the answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACTOR = 3.0
"""How many times farther than usual a shard must lie to be called drifted."""

_USUAL_FROM = 3  # earlier shards, fewer of which do not say what is usual


@dataclass(frozen=True)
class Drift:
    """One shard: the length of its mean vector, and how far that lies from the earlier mean.

    `norm` is near 1 where all images look alike, and is that of the mean, since the vectors
    themselves have length 1. `expected` is the distance that chance alone would give.
    """

    shard: str
    rows: int
    norm: float
    distance: float
    expected: float
    drifted: bool


def drifts(shards: Sequence[str], rows: Sequence[int], means: NDArray[np.float64]) -> list[Drift]:
    """Each shard against all before it; `means` is float64[shards, dim] of unit vectors.

    The first has nothing before it: its distance is 0. Shards without rows are left out.
    """
    found: list[Drift] = []
    total, count = np.zeros(means.shape[1]), 0
    for shard, size, mean in zip(shards, rows, means, strict=True):
        if not size:
            continue
        distance = expected = 0.0
        if count:
            distance = float(np.linalg.norm(mean - total / count))
            expected = _by_chance(mean, size, count)
        usual = [one.distance for one in found[1:]]
        drifted = len(usual) >= _USUAL_FROM and distance > FACTOR * max(
            float(np.median(usual)), expected
        )
        found.append(Drift(shard, size, float(np.linalg.norm(mean)), distance, expected, drifted))
        if not drifted:  # or the next shards would be held against what went wrong
            total, count = total + mean * size, count + size
    return found


def _by_chance(mean: NDArray[np.float64], size: int, earlier: int) -> float:
    """Unit vectors scatter round their mean with the variance 1 - |mean|²; means of n with that
    over n."""
    variance = max(0.0, 1.0 - float(mean @ mean))
    return float(np.sqrt(variance * (1 / size + 1 / earlier)))
