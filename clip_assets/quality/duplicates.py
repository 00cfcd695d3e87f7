"""Finds duplicate images: by the bytes of the file, or by similarity of their vectors."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.97
"""Cosine similarity at or above which two images are near-duplicates."""

_BLOCK = 512  # rows per matrix product: 2 MB per 1,000 columns, large enough for every core


class Pair(NamedTuple):
    """Two rows and the cosine of the angle between their vectors."""

    first: int
    second: int
    cosine: float


def exact(hashes: Sequence[str]) -> list[list[int]]:
    """Groups of rows that share a hash, largest first; rows in a group are ascending."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(hashes):
        rows[digest].append(row)
    groups = [group for group in rows.values() if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def near(vectors: NDArray[np.float32], threshold: float, most: int) -> list[Pair]:
    """The closest `most` pairs of unit vectors float32[n, dim] at or above the threshold.

    Compares every pair, n² / 2 products of length dim: 50,000 rows take seconds, a million rows
    are too many. Memory holds one block of products and the pairs.
    """
    found: list[Pair] = []
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        hits = np.flatnonzero(np.triu(block >= threshold, k=1))
        cosines = block.ravel()[hits]
        if len(hits) > most:  # many copies of one image can give half a block of pairs
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
    """At most `most` row numbers, spread evenly over all rows."""
    return np.unique(np.linspace(0, max(rows - 1, 0), min(rows, most)).astype(np.int64))
