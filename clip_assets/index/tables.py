"""One index: the table of one model of one collection, and its rows in the ledger."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from clip_assets.errors import DatabaseError
from clip_assets.index.statements import statement
from clip_assets.model import ModelIdentity, ModelSpec


@dataclass(frozen=True)
class Index:
    """One model's table for one collection; `judgement` is what was last measured of it."""

    index_id: int
    collection: str
    identity: ModelIdentity
    spec: ModelSpec
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


def ensure(
    connection: psycopg.Connection, collection: str, spec: ModelSpec, identity: ModelIdentity
) -> Index:
    """The index of this model, made if it is the first time."""
    with connection.transaction():
        row = connection.execute(
            statement("add_index"),
            {
                "collection": collection,
                "slug": spec.slug,
                "identity_key": identity.key,
                "identity": Jsonb(identity.model_dump()),
                "spec": Jsonb(spec.model_dump()),
                "dim": identity.dim,
            },
        ).fetchone()
        assert row is not None, "INSERT … RETURNING gives a row"
        index = Index(row[0], collection, identity, spec, row[1])
        dim = sql.Literal(identity.dim)
        connection.execute(statement("create_table", table=index.table, dim=dim))
    return index


def find(connection: psycopg.Connection, collection: str, slug: str) -> Index:
    """The newest index of this model. Raises DatabaseError if there is none."""
    key = {"collection": collection, "slug": slug}
    row = connection.execute(statement("find_index"), key).fetchone()
    if row is None:
        raise DatabaseError(
            f"{collection} has no index for {slug} yet. Materialize `search_index` first."
        )
    index_id, identity, spec, judgement = row
    return Index(
        index_id,
        collection,
        ModelIdentity.model_validate(identity),
        ModelSpec.model_validate(spec),
        judgement,
    )


def ledger(connection: psycopg.Connection, index: Index) -> dict[str, tuple[str, str, int]]:
    """Commit path, digest and rows of each loaded shard, by shard key."""
    return ledger_of(connection, index.index_id)


def ledger_of(connection: psycopg.Connection, index_id: int) -> dict[str, tuple[str, str, int]]:
    """`ledger` of an index that is known by its number."""
    rows = connection.execute(statement("ledger"), {"index_id": index_id})
    return {shard: (path, digest, count) for shard, path, digest, count in rows}
