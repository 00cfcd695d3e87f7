"""Where a load goes that is large beside what is loaded: around the graph, not through it.

A row inserted into an HNSW on pages takes 2 to 5 ms; in a build it takes 0.7, and less with each
further core (docs/scale.md). A trial of a few shards that is live must not make the thousand that
follow it pay the one for the other.
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
"""Fewer are inserted live within minutes."""

SHARE = 1 / 3
"""Of the shards that are loaded; beyond it a build of all is the faster way."""

_PATIENCE_SECONDS = 5.0


def make_room(
    connection: psycopg.Connection,
    objects: Objects,
    index: Index,
    loaded: int,
    changed: Collection[str],
) -> Index:
    """The index to load the commits at `changed` into; `index` itself where they are few.

    `loaded` counts the shards it has. Many go into an empty one beside it, of the same model, whose
    graph is built once all are in; what is live answers meanwhile, and the next release moves. One
    that was never released serves nobody: it only loses its graph, unless somebody reads it now.
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
