"""One index: the table of one model of one collection, and its rows in the ledger.

Of one model there may be several indexes side by side: one of each `VectorType`, and a newer one
that is to take the place of one whose graph was outgrown (`growth`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from clip_assets.errors import DatabaseError
from clip_assets.index.statements import statement
from clip_assets.index.vector_type import VectorType
from clip_assets.model import ModelIdentity, ModelSpec

Ledger = dict[str, tuple[str, str, int]]
"""Commit path, digest and rows of each loaded shard, by shard key."""


@dataclass(frozen=True)
class Index:
    """One model's table for one collection; `judgement` is what was last measured of it."""

    index_id: int
    collection: str
    identity: ModelIdentity
    spec: ModelSpec
    vector_type: VectorType
    judgement: dict[str, Any] | None

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(table_name(self.index_id))

    @property
    def hnsw(self) -> str:
        return f"{table_name(self.index_id)}_hnsw"


def table_name(index_id: int) -> str:
    """Name of an index's table within the schema `clip_assets`."""
    return f"images_{index_id}"


def ensure(  # noqa: PLR0913 - what makes an index another one
    connection: psycopg.Connection,
    collection: str,
    spec: ModelSpec,
    identity: ModelIdentity,
    vector_type: VectorType,
    *,
    newer_than: int = 0,
) -> Index:
    """The newest index of this model and type, made if there is none after `newer_than`."""
    values = {
        "collection": collection,
        "slug": spec.slug,
        "identity_key": identity.key,
        "identity": Jsonb(identity.model_dump()),
        "spec": Jsonb(spec.model_dump()),
        "dim": identity.dim,
        "vector_type": vector_type.value,
        "newer_than": newer_than,
    }
    with connection.transaction():
        connection.execute(statement("lock_indexes"), values)
        connection.execute(statement("add_index"), values)
        row = connection.execute(statement("newest_index"), values).fetchone()
        assert row is not None, "it was there or was added"
        index = Index(row[0], collection, identity, spec, vector_type, row[1])
        create_table(connection, index.index_id, identity.dim, vector_type)
    return index


def create_table(
    connection: psycopg.Connection, index_id: int, dim: int, vector_type: VectorType
) -> None:
    """The index's table, empty, unless it is there."""
    connection.execute(
        statement(
            "create_table",
            table=sql.Identifier(table_name(index_id)),
            dim=sql.Literal(dim),
            vector_type=vector_type.name_in_sql,
        )
    )


def find(
    connection: psycopg.Connection,
    collection: str,
    slug: str,
    vector_type: VectorType | None = None,
) -> Index:
    """The newest index of this model and type; None means of any type.

    Raises DatabaseError if there is none.
    """
    key = {"collection": collection, "slug": slug, "vector_type": vector_type and vector_type.value}
    row = connection.execute(statement("find_index"), key).fetchone()
    if row is None:
        kind = f"{vector_type} index" if vector_type else "index"
        raise DatabaseError(
            f"{collection} has no {kind} for {slug} yet. Materialize `search_index` first."
        )
    return index_of(row)


def by_id(connection: psycopg.Connection, index_id: int) -> Index:
    """The index of that number."""
    row = connection.execute(statement("index_by_id"), {"index_id": index_id}).fetchone()
    assert row is not None, "indexes are never removed, only their tables"
    return index_of(row)


def drop(connection: psycopg.Connection, index_id: int) -> None:
    """Drop the index's table, and forget what was loaded into it and judged of it."""
    key = {"index_id": index_id}
    connection.execute(statement("empty_ledger"), key)
    connection.execute(statement("forget_judgement"), key)
    table = sql.Identifier(table_name(index_id))
    connection.execute(statement("drop_table", table=table))


def index_of(row: Sequence[Any]) -> Index:
    """The index of a row of `find_index` or `published`."""
    index_id, collection, identity, spec, vector_type, judgement = row
    return Index(
        index_id,
        collection,
        ModelIdentity.model_validate(identity),
        ModelSpec.model_validate(spec),
        VectorType(vector_type),
        judgement,
    )


def has_hnsw(connection: psycopg.Connection, index: Index) -> bool:
    """Whether its graph is built."""
    hnsw = {"hnsw": f"clip_assets.{index.hnsw}"}
    row = connection.execute(statement("has_hnsw"), hnsw).fetchone()
    return bool(row and row[0])


def any_released(connection: psycopg.Connection, index: Index, after: int) -> bool:
    """Whether an index of this one's model and type, with a number above `after`, was ever live."""
    row = connection.execute(
        statement("any_released"), {"index_id": index.index_id, "after": after}
    ).fetchone()
    return bool(row and row[0])


def ledger(connection: psycopg.Connection, index: Index) -> Ledger:
    """What is loaded."""
    return ledger_of(connection, index.index_id)


def ledger_of(connection: psycopg.Connection, index_id: int) -> Ledger:
    """`ledger` of an index that is known by its number."""
    rows = connection.execute(statement("ledger"), {"index_id": index_id})
    return {shard: (path, digest, count) for shard, path, digest, count in rows}


def content(connection: psycopg.Connection, index_id: int) -> str:
    """sha256 over an index's ledger: changes when any loaded shard does."""
    rows = ledger_of(connection, index_id)
    text = "\n".join(f"{shard} {digest}" for shard, (_, digest, _) in rows.items())
    return hashlib.sha256(text.encode()).hexdigest()
