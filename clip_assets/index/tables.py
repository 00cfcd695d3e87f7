"""One index: the table of one model of one collection, and its rows in the ledger.

A model may have several indexes: one of each `VectorType`, and a newer one that will replace an
index that too many shards were added to (`growth`).
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, kwargs_row, scalar_row
from psycopg.types.json import Json, Jsonb

from clip_assets.column import NO_COLUMNS, Columns, ColumnType
from clip_assets.errors import DatabaseError
from clip_assets.index.columns import definitions
from clip_assets.index.locks import patiently
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.index.vector_type import SqlVector, VectorType
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.postgres.pgvector import SCHEMA


@dataclass(frozen=True)
class LoadedShard:
    """A row of the ledger: the commit that a shard was loaded from, and its number of rows."""

    shard: str
    commit_path: str
    digest: str
    rows: int


_PATIENCE_SECONDS = 60.0

Ledger = dict[str, LoadedShard]
"""What is loaded, by shard key."""


@dataclass(frozen=True)
class Index:
    """One model's table for one collection; `judgement` is the newest measurement.

    `columns` are the declared columns that the table has.
    """

    index_id: int
    collection: str
    identity: ModelIdentity
    spec: ModelSpec
    vector_type: VectorType
    vector_schema: str
    judgement: dict[str, Any] | None
    columns: Columns

    @property
    def vectors(self) -> SqlVector:
        return SqlVector(self.vector_type, self.vector_schema)

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(table_name(self.index_id))

    @property
    def hnsw(self) -> str:
        return hnsw_name(self.index_id)


def table_name(index_id: int) -> str:
    """Name of an index's table within the schema `clip_assets`."""
    return f"images_{index_id}"


def hnsw_name(index_id: int) -> str:
    """Name of the HNSW of an index's table."""
    return f"{table_name(index_id)}_hnsw"


def ensure(
    connection: psycopg.Connection, spec: IndexSpec, identity: ModelIdentity, newer_than: int = 0
) -> Index:
    """The newest index of this model and type; created if none has an id above `newer_than`."""
    values = {
        "collection": spec.collection,
        "slug": spec.model.slug,
        "identity_key": identity.key,
        "identity": Jsonb(identity.model_dump()),
        "spec": Jsonb(spec.model.model_dump()),
        "dim": identity.dim,
        "vector_type": spec.vector_type.value,
        "newer_than": newer_than,
    }
    with connection.transaction():
        connection.execute(statement("lock_indexes"), values)
        connection.execute(statement("add_index"), values)
        index = _one(connection, statement("newest_index", vector_schema=SCHEMA), values)
        assert index is not None, "it was there or was added"
        create_table(connection, index.index_id, identity.dim, index.vectors, index.columns)
    return index


def declare(connection: psycopg.Connection, index: Index, columns: Columns) -> Index:
    """The index with these columns; a new column is null in rows that are already loaded.

    A column that is no longer declared stays in the table, unused. Raises ReleaseError if searches
    held a lock on the table for too long.
    """
    if [*index.columns.items()] == [*columns.items()]:
        return index

    def move() -> None:
        add_columns(connection, index.index_id, columns)
        values = {"index_id": index.index_id, "columns": Json(dict(columns))}
        connection.execute(statement("declare_columns"), values)

    patiently(connection, index.collection, move, _PATIENCE_SECONDS)
    return replace(index, columns=columns)


def add_columns(connection: psycopg.Connection, index_id: int, columns: Columns) -> None:
    """Add those of the declared columns that the index's table lacks."""
    if columns:
        table = sql.Identifier(table_name(index_id))
        connection.execute(statement("add_columns", table=table, definitions=definitions(columns)))


def create_table(
    connection: psycopg.Connection,
    index_id: int,
    dim: int,
    vectors: SqlVector,
    columns: Columns = NO_COLUMNS,
) -> None:
    """Create the index's table if it does not exist."""
    connection.execute(
        statement(
            "create_table",
            table=sql.Identifier(table_name(index_id)),
            dim=sql.Literal(dim),
            vector_type=vectors.name,
        )
    )
    add_columns(connection, index_id, columns)


def find(
    connection: psycopg.Connection,
    collection: str,
    slug: str,
    vector_type: VectorType | None = None,
) -> Index:
    """The newest index of this model and type; a type of None means any.

    Raises DatabaseError if there is none.
    """
    key = {"collection": collection, "slug": slug, "vector_type": vector_type and vector_type.value}
    index = _one(connection, statement("find_index", vector_schema=SCHEMA), key)
    if index is None:
        kind = f"{vector_type} index" if vector_type else "index"
        raise DatabaseError(
            f"{collection} has no {kind} for {slug} yet. Materialize `search_index` first."
        )
    return index


def by_id(connection: psycopg.Connection, index_id: int) -> Index:
    """The index with that id."""
    key = {"index_id": index_id}
    index = _one(connection, statement("index_by_id", vector_schema=SCHEMA), key)
    assert index is not None, "indexes are never removed, only their tables"
    return index


def drop(connection: psycopg.Connection, index_id: int) -> None:
    """Drop the index's table, and delete its ledger and judgement."""
    key = {"index_id": index_id}
    connection.execute(statement("empty_ledger"), key)
    connection.execute(statement("forget_judgement"), key)
    table = sql.Identifier(table_name(index_id))
    connection.execute(statement("drop_table", table=table))


def has_table(connection: psycopg.Connection, index: Index) -> bool:
    """Whether its table exists."""
    name = {"name": f"clip_assets.{table_name(index.index_id)}"}
    found = connection.cursor(row_factory=scalar_row).execute(statement("find_relation"), name)
    return found.fetchone() is not None


def is_live(connection: psycopg.Connection, index: Index) -> bool:
    """Whether searches are answered from it."""
    key = {"index_id": index.index_id}
    exists = connection.cursor(row_factory=scalar_row).execute(statement("is_live"), key)
    return bool(exists.fetchone())


def has_hnsw(connection: psycopg.Connection, index: Index) -> bool:
    """Whether its graph is built."""
    hnsw = {"hnsw": f"clip_assets.{index.hnsw}"}
    valid = connection.cursor(row_factory=scalar_row).execute(statement("has_hnsw"), hnsw)
    return bool(valid.fetchone())


def any_released(connection: psycopg.Connection, index: Index, after: int) -> bool:
    """Whether an index of this one's model and type, with an id above `after`, was ever live."""
    key = {"index_id": index.index_id, "after": after}
    exists = connection.cursor(row_factory=scalar_row).execute(statement("any_released"), key)
    return bool(exists.fetchone())


def ledger(connection: psycopg.Connection, index: Index) -> Ledger:
    """What is loaded."""
    return ledger_of(connection, index.index_id)


def ledger_of(connection: psycopg.Connection, index_id: int) -> Ledger:
    """`ledger` by index id."""
    rows = connection.cursor(row_factory=class_row(LoadedShard))
    return {row.shard: row for row in rows.execute(statement("ledger"), {"index_id": index_id})}


def row_count(loaded: Ledger) -> int:
    """How many images are loaded."""
    return sum(shard.rows for shard in loaded.values())


def content(connection: psycopg.Connection, index_id: int) -> str:
    """sha256 over an index's ledger: changes when any loaded shard does."""
    loaded = ledger_of(connection, index_id).values()
    text = "\n".join(f"{row.shard} {row.digest}" for row in loaded)
    return hashlib.sha256(text.encode()).hexdigest()


def _one(
    connection: psycopg.Connection, query: sql.Composed, values: dict[str, Any]
) -> Index | None:
    return connection.cursor(row_factory=kwargs_row(_index)).execute(query, values).fetchone()


def columns_of(stored: dict[str, str]) -> Columns:
    """The declared columns as the table `index` has them."""
    return {name: ColumnType(kind) for name, kind in stored.items()}


def _index(
    *, identity: Any, spec: Any, vector_type: str, columns: dict[str, str], **others: Any
) -> Index:
    return Index(
        identity=ModelIdentity.model_validate(identity),
        spec=ModelSpec.model_validate(spec),
        vector_type=VectorType(vector_type),
        columns=columns_of(columns),
        **others,
    )
