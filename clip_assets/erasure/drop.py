"""Drop a whole collection: its release, its indexes and its files, with a receipt.

The database is cleared first, in one transaction, so a search finds all of the collection or
nothing. If the deletion of files is interrupted, the same call continues.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from json import dumps

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from clip_assets.erasure.statements import statement
from clip_assets.errors import DatabaseError
from clip_assets.index import tables, thumbnails
from clip_assets.index.locks import patiently
from clip_assets.judgements import judgements
from clip_assets.store.objects import Objects

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Belongings:
    """Everything that exists of a collection. Names are Postgres'; bytes are of the files."""

    collection: str
    releases: int
    tables: tuple[str, ...]
    relations: tuple[str, ...]
    uri: str
    files: int
    bytes: int

    @property
    def in_database(self) -> bool:
        return bool(self.releases or self.tables or self.relations)

    @property
    def lines(self) -> list[str]:
        """What will be deleted, one item per line."""
        counted = f"{self.files} files, {self.bytes / 1e6:.1f} MB, in {self.uri}"
        return [
            *([f"releases: {self.releases}"] if self.releases else []),
            *(f"table {name}" for name in self.tables),
            *(f"SQL relation {name}" for name in self.relations),
            *([counted] if self.files else []),
        ]


def belongings(
    connection: psycopg.Connection | None, objects: Objects, collection: str
) -> Belongings:
    """What `drop` would delete. Pass no connection if the database was never used."""
    releases, indexes, relations = _stored(connection, collection) if connection else (0, [], [])
    sizes = [entry.size for entry in objects.list()]
    return Belongings(
        collection,
        releases,
        tuple(f"clip_assets.{tables.table_name(number)}" for number in indexes),
        tuple(relations),
        objects.root,
        len(sizes),
        sum(sizes),
    )


def drop(
    connection: psycopg.Connection | None, objects: Objects, receipts: Objects, had: Belongings
) -> str:
    """Delete everything; returns the URI of the receipt, which is written last.

    Raises DatabaseError if views in other schemas read the collection's.
    """
    if connection:
        patiently(
            connection,
            had.collection,
            lambda: _drop_stored(connection, had.collection),
            _PATIENCE_SECONDS,
        )
        thumbnails.drop_unneeded(connection)
    for path in [entry.path for entry in objects.list()]:
        objects.delete(path)
    now = datetime.now(UTC)
    path = f"dropped/{had.collection}-{now:%Y%m%dT%H%M%SZ}.json"
    receipt = {"dropped_at": now.isoformat(timespec="seconds"), **asdict(had)}
    receipts.put(path, dumps(receipt, indent=1).encode())
    return receipts.uri(path)


def _stored(connection: psycopg.Connection, collection: str) -> tuple[int, list[int], list[str]]:
    key = {"collection": collection}
    cursor = connection.cursor(row_factory=scalar_row)
    releases = cursor.execute(statement("releases"), key).fetchone()
    indexes = cursor.execute(statement("indexes"), key).fetchall()
    # A schema of that name may belong to somebody else, if it never had anything of ours.
    relations = cursor.execute(statement("relations"), key).fetchall() if releases else []
    return releases or 0, indexes, relations


def _drop_stored(connection: psycopg.Connection, collection: str) -> None:
    key = {"collection": collection}
    releases, indexes, _ = _stored(connection, collection)
    outside = connection.cursor(row_factory=scalar_row).execute(statement("outside"), key)
    if others := outside.fetchall():
        raise DatabaseError(
            f"{', '.join(sorted(others))} in other schemas read {collection}'s views. Drop them "
            "first; nothing was deleted."
        )
    if releases:
        connection.execute(statement("drop_schema", collection=sql.Identifier(collection)))
    connection.execute(statement("forget_live"), key)
    connection.execute(statement("forget_releases"), key)
    for number in indexes:
        tables.drop(connection, number)
    judgements.forget_collection(connection, collection)
    for name in ("forget_indexes", "forget_erased", "forget_owner"):
        connection.execute(statement(name), key)
