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


def recall_at_k(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]], k: int) -> Recall:
    """Share of each query's exact k nearest that were found, averaged.

    Where the collection has fewer than k images, all of them count as the exact nearest.
    """
    shares = [
        len(set(near[:k]) & set(true[:k])) / max(1, min(k, len(true)))
        for near, true in zip(found, exact, strict=True)
    ]
    mean = sum(shares) / len(shares)
    return Recall(k=k, queries=len(shares), mean=mean, lower=wilson_lower(mean, len(shares)))


def wilson_lower(mean: float, n: int) -> float:
    """Lower bound of a mean of n values within [0, 1] (Wilson, 1927).

    Wilson's interval is for proportions; a value within [0, 1] varies at most as much as a
    proportion of the same mean, so the bound errs on the safe side here.
    """
    z2 = Z_95**2
    centre = mean + z2 / (2 * n)
    spread = Z_95 * math.sqrt(mean * (1 - mean) / n + z2 / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z2 / n))
