"""The images nearest to what a request asks for, on one connection."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import TupleRow

from clip_assets.search import search as index
from clip_assets.search.filters import Filter
from clip_assets.search.search import Hits, Release

from .encoder import Vector
from .errors import Unanswerable

_MOST = 1_000  # hits to look through for those that are no duplicates
_NOTHING = 1e-3  # a sum of unit vectors this much shorter than they are points nowhere


@dataclass(frozen=True)
class Part:
    """A vector, or the id of the stored image that has it, and its weight."""

    of: Vector | str
    weight: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """Up to `k` hits that pass the filter, score at least `min_score`, are not excluded and, with
    `collapse`, are of different content."""

    k: int
    only: Filter | None = None
    min_score: float | None = None
    excluded: frozenset[str] = frozenset()
    collapse: bool = False


def nearest(
    connection: Connection[TupleRow], release: Release, parts: Sequence[Part], wanted: Wanted
) -> Hits | None:
    """The hits, or None if the release lacks one of the images.

    Images that are searched for are not among the hits. Raises Unanswerable if a vector is not of
    the release's dimension, or if the parts cancel each other out.
    """
    vectors: list[Vector] = []
    for part in parts:
        if isinstance(part.of, str):
            vector = index.vector_of(connection, release, part.of)
            if vector is None:
                return None
            vectors.append(vector)
        else:
            vectors.append(part.of)
    excluded = wanted.excluded | {part.of for part in parts if isinstance(part.of, str)}
    together = _together(vectors, [part.weight for part in parts], release.identity.dim)
    count = wanted.k + len(excluded)
    while True:
        found = index.search(connection, release, together, count, wanted.only)
        hits = _kept(found, excluded, wanted, found.complete and len(found.hits) < count)
        if hits.complete or not wanted.collapse or not found.complete or count > _MOST:
            return hits
        count *= 2  # to fill the places of duplicates


def _together(vectors: Sequence[Vector], weights: Sequence[float], dim: int) -> Vector:
    """Unit vector float32[dim]: the sum of the vectors at length 1, each times its weight."""
    if any(len(vector) != dim for vector in vectors):
        raise Unanswerable(f"A vector for this release has {dim} numbers.")
    if list(weights) == [1.0] and abs(float(np.linalg.norm(vectors[0])) - 1) < _NOTHING:
        return vectors[0]
    total = np.zeros(dim)
    for vector, weight in zip(vectors, weights, strict=True):
        total += weight * _unit(np.asarray(vector, np.float64))
    if np.linalg.norm(total) < _NOTHING * np.abs(weights).sum():
        raise Unanswerable("The terms cancel each other out. Change a weight, or leave one out.")
    unit: Vector = _unit(total).astype(np.float32)
    return unit


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(vector).max()
    if largest == 0:
        raise Unanswerable("A vector must not be all zeros.")
    scaled = vector / largest  # or its length might overflow
    unit: NDArray[np.float64] = scaled / np.linalg.norm(scaled)
    return unit


def _kept(found: Hits, excluded: frozenset[str], wanted: Wanted, exhausted: bool) -> Hits:
    others = [hit for hit in found.hits if hit.image_id not in excluded]
    if wanted.min_score is not None:
        close = [hit for hit in others if hit.score >= wanted.min_score]
    else:
        close = others
    if wanted.collapse:
        unlike = {hit.sha256: hit for hit in reversed(close)}  # of each, the nearest stays
        different = [hit for hit in close if unlike[hit.sha256] is hit]
    else:
        different = close
    kept = tuple(different[: wanted.k])
    cut = len(close) < len(others)
    return Hits(kept, exhausted or cut or len(kept) == wanted.k)
