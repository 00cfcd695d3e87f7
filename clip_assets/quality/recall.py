"""recall@k of an approximate search, with a lower bound that a few lucky queries cannot meet."""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

Z_95 = 1.6449
"""One-sided 95 % quantile of the standard normal distribution."""


class Recall(BaseModel):
    """Mean recall@k over `queries`, and its one-sided 95 % lower confidence bound."""

    model_config = ConfigDict(frozen=True)

    k: int
    queries: int
    mean: float
    lower: float


def mean_recall(reached: Sequence[float], k: int) -> Recall:
    """Recall over queries; `reached` is the share of its exact k nearest that each query found.

    If the collection has fewer than k images, all of them count as the exact nearest. Without
    queries the mean is 1, because nothing was missed, and the bound 0, because nothing was proved.
    """
    if not reached:
        return Recall(k=k, queries=0, mean=1.0, lower=0.0)
    mean = sum(reached) / len(reached)
    return Recall(k=k, queries=len(reached), mean=mean, lower=wilson_lower(mean, len(reached)))


def wilson_lower(mean: float, n: int) -> float:
    """Lower bound of the mean of n values in [0, 1] (Wilson, 1927).

    Wilson's interval is for proportions. Values in [0, 1] vary at most as much as a proportion
    with the same mean, so here the bound is conservative.
    """
    z2 = Z_95**2
    centre = mean + z2 / (2 * n)
    spread = Z_95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z2 / n))
