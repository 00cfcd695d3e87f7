"""Decides whether many new shards go into a new table instead of the existing graph.

Inserting a row into an existing HNSW takes 2 to 5 ms; in a build it takes 0.7 ms, and less with
each further core (docs/scale.md). So after a small trial is released, the full load must not insert
row by row.
"""

from collections.abc import Collection

import psycopg
from psycopg import sql

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.index.locks import patiently
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

MANY_ROWS = 50_000
"""Fewer rows than this are inserted into the existing graph within minutes."""

SHARE = 1 / 3
"""If more than this share of the loaded shards changes, building a new graph is faster."""

_PATIENCE_SECONDS = 5.0


def make_room(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    loaded: int,
    changed: Collection[str],
) -> Index:
    """The index to load the commits at `changed` into; `index` itself if they are few.

    `loaded` is the number of shards in `index`. Many changes go into a new, empty index of the same
    model, whose graph is built after the load; the live release stays on the old index until the
    next release. An index that was never released is reused, and only its graph is dropped. If
    another session blocks that, `index` is returned unchanged.
    """
    if len(changed) <= SHARE * loaded or not tables.has_hnsw(connection, index):
        return index
    if not _many_rows(objects, changed):
        return index
    try:
        return patiently(
            connection, index.collection, lambda: _room(connection, index), _PATIENCE_SECONDS
        )
    except ReleaseError:
        return index


def _room(connection: psycopg.Connection, index: Index) -> Index:
    if tables.any_released(connection, index, after=index.index_id - 1):
        spec = IndexSpec(index.collection, index.spec, index.vector_type)
        return tables.ensure(connection, spec, index.identity, newer_than=index.index_id)
    connection.execute(statement("drop_hnsw", hnsw=sql.Identifier(index.hnsw)))
    connection.execute(statement("forget_judgement"), {"index_id": index.index_id})
    return index


def _many_rows(objects: Objects, changed: Collection[str]) -> bool:
    rows = 0
    for path in changed:
        rows += commits.read_path(objects, path).rows
        if rows >= MANY_ROWS:
            return True
    return False
