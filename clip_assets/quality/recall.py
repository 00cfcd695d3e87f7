"""recall@k of an approximate search, with a bound that a few lucky queries cannot reach."""

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

Z_95 = 1.6449
"""One-sided 95 % quantile of the normal distribution."""


class Recall(BaseModel):
    """Mean recall@k over `queries`, and its one-sided 95 % lower confidence bound."""

    model_config = ConfigDict(frozen=True)

    k: int
    queries: int
    mean: float
    lower: float


def mean_recall(reached: Sequence[float], k: int) -> Recall:
    """From the share of its exact k nearest that each query found.

    Where the collection has fewer than k images, all of them count as the exact nearest. Of no
    queries the recall is 1, for nothing was lost, and its bound 0, for nothing was shown.
    """
    if not reached:
        return Recall(k=k, queries=0, mean=1.0, lower=0.0)
    mean = sum(reached) / len(reached)
    return Recall(k=k, queries=len(reached), mean=mean, lower=wilson_lower(mean, len(reached)))


def wilson_lower(mean: float, n: int) -> float:
    """Lower bound of a mean of n values within [0, 1] (Wilson, 1927).

    Wilson's interval is for proportions; a value within [0, 1] varies at most as much as a
    proportion of the same mean, so the bound errs on the safe side here.
    """
    z2 = Z_95**2
    centre = mean + z2 / (2 * n)
    spread = Z_95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z2 / n))
