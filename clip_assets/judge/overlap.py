"""Overlap of a candidate with the live release: shared results for the same queries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psycopg
from psycopg.rows import class_row

from clip_assets.errors import StoreError
from clip_assets.index import tables
from clip_assets.judge import queries, ties
from clip_assets.judge.baseline import baseline_release
from clip_assets.judge.evaluation import K
from clip_assets.judge.judgement import Overlap
from clip_assets.judge.queries import Floats, Query
from clip_assets.judge.statements import statement
from clip_assets.search.nearest import Graph, nearest
from clip_assets.search.search import Release
from clip_assets.store.objects import Objects

_QUERIES = 100

_Pair = tuple[Query, Floats]
"""A query: its vector by the candidate's model, and its vector by the live model."""


@dataclass(frozen=True)
class _Stored:
    """An image's vector as the index has it."""

    image_id: str
    vector: list[float]


def overlap(
    connection: psycopg.Connection,
    objects: Objects,
    collection: str,
    graph: Graph,
    asked: list[Query],
) -> Overlap | None:
    """None if there is no other live release to compare with."""
    release = baseline_release(connection, collection, graph.index_id)
    if release is None:
        return None
    texts = list(_same_texts(connection, objects, release, asked))[:_QUERIES]
    images = list(_same_images(connection, release, asked))[:_QUERIES]
    return Overlap(
        release_id=release.id,
        model=release.identity.short,
        text=_shared(connection, graph, release.graph, texts),
        image=_shared(connection, graph, release.graph, images),
        texts=len(texts),
        images=len(images),
    )


def _same_texts(
    connection: psycopg.Connection, objects: Objects, release: Release, asked: list[Query]
) -> Iterator[_Pair]:
    theirs = tables.ledger_of(connection, release.index_id)
    try:
        known = queries.texts(objects, [shard.commit_path for shard in theirs.values()])
    # The files that an older index was loaded from may be gone; the index itself still works.
    except (StoreError, FileNotFoundError):
        return
    vectors = {query.text: query.vector for query in known}
    for query in asked:
        if query.text in vectors:
            yield query, vectors[query.text]


def _same_images(
    connection: psycopg.Connection, release: Release, asked: list[Query]
) -> Iterator[_Pair]:
    images = [query for query in asked if query.is_image]
    names = {"image_ids": [query.image_id for query in images]}
    rows = connection.cursor(row_factory=class_row(_Stored))
    found = rows.execute(statement("vectors_of", table=release.graph.table), names)
    vectors = {row.image_id: np.asarray(row.vector, np.float32) for row in found}
    for query in images:
        if query.image_id in vectors:
            yield query, vectors[query.image_id]


def _shared(
    connection: psycopg.Connection, candidate: Graph, live: Graph, pairs: list[_Pair]
) -> float | None:
    """Mean share of the K nearest that both find, without the query image itself.

    Images at the same distance in the live index are interchangeable.
    """
    shares = []
    for query, theirs in pairs:
        ours = _found(connection, candidate, query.vector, query)
        other = _found(connection, live, theirs, query)
        if ours or other:
            both = ours.keys() & other.keys()
            only_ours = ties.distances(connection, live, theirs, ours.keys() - both)
            only_theirs = [other[name] for name in other.keys() - both]
            same = len(both) + ties.paired(only_ours.values(), only_theirs)
            shares.append(same / max(len(ours), len(other)))
    return sum(shares) / len(shares) if shares else None


def _found(
    connection: psycopg.Connection, graph: Graph, vector: Floats, query: Query
) -> dict[str, float]:
    """Distances of the K nearest, by image id."""
    found = nearest(connection, graph, vector, K + query.is_image)
    rows = [row for row in found.rows if not query.is_itself(row.image_id)]
    return {row.image_id: 1 - row.score for row in rows[:K]}
