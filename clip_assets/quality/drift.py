"""Detects drift: compares each shard's mean vector with that of the earlier shards.

Other weights, other preprocessing or a changed source all move the mean immediately, long before
anyone notices in the search results.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FACTOR = 3.0
"""A shard has drifted if it is more than this many times farther away than usual."""

_USUAL_FROM = 3  # earlier shards needed to estimate the usual distance


@dataclass(frozen=True)
class Drift:
    """One shard: the length of its mean vector, and its distance from the mean of earlier shards.

    `norm` is near 1 if all images look alike (each vector has length 1, their mean is shorter).
    `expected` is the distance expected by chance.
    """

    shard: str
    rows: int
    norm: float
    distance: float
    expected: float
    drifted: bool


def drifts(shards: Sequence[str], rows: Sequence[int], means: NDArray[np.float64]) -> list[Drift]:
    """Compare each shard with all before it; `means` is float64[shards, dim], one mean per shard.

    The first shard has distance 0. Shards without rows are skipped.
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
        if not drifted:  # later shards must not be compared with a drifted one
            total, count = total + mean * size, count + size
    return found


def _by_chance(mean: NDArray[np.float64], size: int, earlier: int) -> float:
    """Unit vectors scatter around their mean with variance 1 - |mean|²; the mean of n of them
    with that variance divided by n."""
    variance = max(0.0, 1.0 - float(mean @ mean))
    return float(np.sqrt(variance * (1 / size + 1 / earlier)))
