"""The same picture twice: by the bytes of its file, or by what the model sees in it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.97
"""Cosine similarity from which two pictures are called near-duplicates."""

_BLOCK = 512  # rows a product: 2 MB a thousand others, and large enough for every core


class Pair(NamedTuple):
    """Two rows and the cosine of the angle between their vectors."""

    first: int
    second: int
    cosine: float


def exact(hashes: Sequence[str]) -> list[list[int]]:
    """Rows that share a hash, the largest groups first, each in ascending order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(hashes):
        rows[digest].append(row)
    groups = [group for group in rows.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def near(vectors: NDArray[np.float32], threshold: float, most: int) -> list[Pair]:
    """The closest `most` pairs of unit vectors float32[n, dim] at or above the threshold.

    Every pair is looked at, n² / 2 products of dim: some 50,000 rows are seconds, a million is not
    for this function. Memory holds one block of products and the pairs.
    """
    found: list[Pair] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        hits = np.flatnonzero(np.triu(block >= threshold, k=1))
        cosines = block.ravel()[hits]
        if len(hits) > most:  # many copies of one picture are half a block of pairs
            best = np.argpartition(-cosines, most)[:most]
            hits, cosines = hits[best], cosines[best]
        first, second = np.divmod(hits, block.shape[1])
        rows = zip(
            (first + start).tolist(), (second + start).tolist(), cosines.tolist(), strict=True
        )
        found = sorted([*found, *(Pair(*row) for row in rows)], key=lambda pair: -pair.cosine)
        found = found[:most]
        if len(found) == most:
            threshold = max(threshold, found[-1].cosine)
    return found


def spread(rows: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most so many rows, evenly over all of them."""
    return np.unique(np.linspace(0, max(rows - 1, 0), min(rows, most)).astype(np.int64))
