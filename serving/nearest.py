"""Finds the images nearest to a request's terms, on one connection."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import Connection
from psycopg.rows import TupleRow

from clip_assets.errors import TermsError
from clip_assets.search import search as index
from clip_assets.search.filters import Filter
from clip_assets.search.search import Hit, Release
from clip_assets.search.terms import together, unit

from .cursor import INVALID, Cursor
from .encoder import Vector

DEEPEST = 10_000
"""The most hits that all pages of an answer have together."""

DEEPEST_SIMILAR = 1_000
"""The same if near-duplicates are omitted, because each hit is then compared with all before it."""


@dataclass(frozen=True)
class Part:
    """A vector, or the id of the stored image that has it, and its weight."""

    of: Vector | str
    weight: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """Which hits to return: up to `k` that match the filter, score at least `min_score`, are not
    excluded, and come after the cursor.

    With `collapse`, no two hits have the same file; with `similar`, each has a lower cosine
    similarity than this to all hits before it. `query` identifies the query in the next page's
    cursor.
    """

    k: int
    query: str
    only: Filter | None = None
    min_score: float | None = None
    excluded: frozenset[str] = frozenset()
    collapse: bool = False
    similar: float | None = None
    after: Cursor | None = None


@dataclass(frozen=True)
class Page:
    """Hits, best first, and the query vector, float32[dim] of unit length.

    `depth` is how many of the nearest images were examined, including omitted ones. `complete` is
    false if the search reached its limit before it found k; `following` is where the next page
    begins, or None if there is none.
    """

    hits: tuple[Hit, ...]
    vector: Vector
    depth: int
    complete: bool = True
    following: Cursor | None = None


def nearest(
    connection: Connection[TupleRow], release: Release, parts: Sequence[Part], wanted: Wanted
) -> Page | None:
    """The hits, or None if the release lacks one of the images.

    Images that are searched for are not among the hits. Raises TermsError if a vector is not of
    the release's dimension, if the parts cancel each other out, or if the cursor's vector is
    invalid.
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
    if wanted.after:
        query = _vector_of(wanted.after, release)
    else:
        query = together(vectors, [part.weight for part in parts], release.identity.dim)
    given = wanted.after.given if wanted.after else 0
    count = given + wanted.k + len(excluded) + 1  # one more tells whether another page follows
    deepest = DEEPEST if wanted.similar is None else DEEPEST_SIMILAR
    while True:
        count = min(count, deepest)
        found = index.search(connection, release, query, count, wanted.only)
        different = list(_kept(found.hits, excluded, wanted))
        if wanted.similar is not None:
            different = _unlike(connection, release, different, wanted.similar)
        kept = list(_after(wanted.after, iter(different)))
        all_seen = found.complete and (
            len(found.hits) < count or _below(found.hits[-1], wanted.min_score)
        )
        if len(kept) > wanted.k or all_seen or not found.complete or count == deepest:
            hits = tuple(kept[: wanted.k])
            complete = all_seen or len(hits) == wanted.k
            more = len(kept) > wanted.k
            following = _following(release, wanted, query, hits) if more else None
            return Page(hits, query, count, complete, following)
        count *= 2  # omitted images took places, so look deeper


def _vector_of(cursor: Cursor, release: Release) -> Vector:
    dtype = release.vector_type.dtype
    if len(cursor.vector) != release.identity.dim * dtype.itemsize:
        raise TermsError(INVALID)
    vector = np.frombuffer(cursor.vector, dtype).astype(np.float32)
    if not np.isfinite(vector).all() or not vector.any():
        raise TermsError(INVALID)
    return vector


def _following(release: Release, wanted: Wanted, query: Vector, hits: Sequence[Hit]) -> Cursor:
    score, before = hits[-1].score, wanted.after
    ties = sum(hit.score == score for hit in hits)
    if before and before.score == score:
        ties += before.ties
    given = len(hits) + (before.given if before else 0)
    vector = query.astype(release.vector_type.dtype).tobytes()
    return Cursor(release.id, wanted.query, score, ties, given, vector)


def _below(hit: Hit, min_score: float | None) -> bool:
    return min_score is not None and hit.score < min_score


def _kept(hits: Sequence[Hit], excluded: frozenset[str], wanted: Wanted) -> Iterator[Hit]:
    shown: set[str] = set()
    for hit in hits:
        if hit.image_id in excluded or _below(hit, wanted.min_score):
            continue
        if wanted.collapse and hit.sha256 in shown:
            continue
        shown.add(hit.sha256)
        yield hit


def _unlike(
    connection: Connection[TupleRow], release: Release, hits: list[Hit], similar: float
) -> list[Hit]:
    """The hits, without those that are similar to an earlier hit."""
    vectors = index.vectors_of(connection, release, [hit.image_id for hit in hits])
    shown = np.empty((len(hits), release.identity.dim), np.float32)
    found: list[Hit] = []
    for hit in hits:
        if hit.image_id not in vectors:  # erased meanwhile
            continue
        vector = unit(np.asarray(vectors[hit.image_id], np.float64)).astype(np.float32)
        if not (shown[: len(found)] @ vector >= similar).any():
            shown[len(found)] = vector
            found.append(hit)
    return found


def _after(cursor: Cursor | None, hits: Iterator[Hit]) -> Iterator[Hit]:
    """The hits after the cursor. Hits with equal scores are ordered by id."""
    ties = cursor.ties if cursor else 0
    for hit in hits:
        if cursor and hit.score > cursor.score:
            continue
        if cursor and hit.score == cursor.score and ties:
            ties -= 1
            continue
        yield hit
