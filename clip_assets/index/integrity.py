"""Whether an index's table still has what was loaded, by the ledger.

Tables can be dropped, restored without rows or changed by hand. `damaged_shards` reads every row;
`visible_damage` only counts rows, for frequent calls.
"""

from dataclasses import dataclass

import psycopg
from psycopg.rows import scalar_row

from clip_assets.index import tables
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index


@dataclass(frozen=True)
class Damage:
    """What an index lacks; its text is a short list, for a sentence."""

    table_missing: bool = False
    hnsw_missing: bool = False
    shards: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.table_missing:
            return "its table is missing"
        count = len(self.shards)
        found = [f"{count} shard{'s' if count > 1 else ''}"] if count else []
        return ", ".join(found + ["its HNSW is missing"] * self.hnsw_missing)


def damaged_shards(connection: psycopg.Connection, index: Index) -> tuple[str, ...]:
    """Keys of the shards whose images or vectors differ from those that were loaded, and of shards
    with rows that were never loaded. Reads the whole table."""
    comparing = statement("damaged_shards", table=index.table, send=index.vectors.send)
    shards = connection.cursor(row_factory=scalar_row)
    return tuple(shards.execute(comparing, {"index_id": index.index_id}))


def miscounted_shards(connection: psycopg.Connection, index: Index) -> tuple[str, ...]:
    """Keys of the shards with more or fewer rows than were loaded. Only counts."""
    counting = statement("miscounted_shards", table=index.table)
    shards = connection.cursor(row_factory=scalar_row)
    return tuple(shards.execute(counting, {"index_id": index.index_id}))


def visible_damage(
    connection: psycopg.Connection, index: Index, *, built: bool = True
) -> Damage | None:
    """What the index visibly lacks; None if nothing is missing.

    `built` says whether it should have its HNSW: while it is first loaded, it has none.
    """
    if not tables.has_table(connection, index):
        loaded = tables.ledger(connection, index)
        return Damage(table_missing=True, shards=tuple(loaded)) if loaded else None
    with connection.transaction():
        connection.execute(
            "SET LOCAL statement_timeout = 0"
        )  # a reader's limit is meant for searches
        damage = Damage(
            hnsw_missing=built and not tables.has_hnsw(connection, index),
            shards=miscounted_shards(connection, index),
        )
    return damage if damage != Damage() else None
