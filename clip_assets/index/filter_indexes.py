"""The indexes, other than the HNSW, of the columns that a search can filter by."""

from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from clip_assets.index.columns import table_column
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index, table_name

INDEXES: dict[str, LiteralString] = {
    "uri": "btree (uri text_pattern_ops)",
    "words": "gin (to_tsvector('simple', caption))",
    "width": "btree (width)",
    "height": "btree (height)",
}
"""By name suffix; `shard` is served by the primary key."""


def ensure_indexes(connection: psycopg.Connection, index: Index, *, alone: bool = False) -> None:
    """Create the indexes that filters need, and update the planner's statistics.

    `alone` is for a server whose shared memory is too small for parallel workers.

    Checks first which are missing: CREATE INDEX IF NOT EXISTS would wait for every load to end.
    """
    with connection.transaction():
        connection.execute(statement("lock_build"), {"hnsw": index.hnsw})
        if alone:
            connection.execute("SELECT set_config('max_parallel_maintenance_workers', '0', true)")
        wanted = _wanted(index)
        missing = [name for name in wanted if not _exists(connection, index, name)]
        for name in missing:
            connection.execute(
                sql.SQL("CREATE INDEX {} ON clip_assets.{} USING ").format(
                    sql.Identifier(_name(index, name)), index.table
                )
                + wanted[name]
            )
    if missing:
        connection.execute(sql.SQL("ANALYZE clip_assets.{}").format(index.table))


def _wanted(index: Index) -> dict[str, sql.Composable]:
    """What is indexed, by name suffix, the declared columns included."""
    built_in = {name: sql.SQL(what) for name, what in INDEXES.items()}
    declared = [table_column(*column) for column in index.columns.items()]
    return built_in | {
        name: sql.SQL("btree ({})").format(sql.Identifier(name)) for name in declared
    }


def _exists(connection: psycopg.Connection, index: Index, name: str) -> bool:
    named = {"name": f"clip_assets.{_name(index, name)}"}
    found = connection.cursor(row_factory=scalar_row).execute(statement("find_relation"), named)
    return found.fetchone() is not None


def _name(index: Index, name: str) -> str:
    return f"{table_name(index.index_id)}_{name}"
