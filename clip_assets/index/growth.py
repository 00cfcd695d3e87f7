"""Where a load goes that is large beside what is loaded: around the graph, not through it.

A row inserted into an HNSW on pages takes 2 to 5 ms; in a build it takes 0.7, and less with each
further core (docs/scale.md). A trial of a few shards that is live must not make the thousand that
follow it pay the one for the other.
"""

import psycopg
from psycopg import sql

from clip_assets.index import tables
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index, Ledger

MANY_ROWS = 50_000
"""Fewer are inserted live within minutes."""

SHARE = 1 / 3
"""Of the shards that are loaded; beyond it a build of all is the faster way."""


def make_room(connection: psycopg.Connection, index: Index, loaded: Ledger, changed: int) -> Index:
    """The index to load so many changed shards into; `index` itself where they are few.

    Many go into an empty one beside it, of the same model, whose graph is built once all are in;
    what is live answers meanwhile, and the next release moves. One that was never released serves
    nobody: it only loses its graph.
    """
    if not _outgrown(loaded, changed) or not tables.has_hnsw(connection, index):
        return index
    with connection.transaction():
        connection.execute(statement("lock_release"), {"collection": index.collection})
        if tables.was_released(connection, index):
            return tables.ensure(
                connection,
                index.collection,
                index.spec,
                index.identity,
                index.vector_type,
                newer_than=index.index_id,
            )
        connection.execute(statement("drop_hnsw", hnsw=sql.Identifier(index.hnsw)))
    return index


def _outgrown(loaded: Ledger, changed: int) -> bool:
    if not loaded or changed <= SHARE * len(loaded):
        return False
    rows = sum(count for _, _, count in loaded.values())
    return changed * rows / len(loaded) >= MANY_ROWS
