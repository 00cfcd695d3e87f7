"""Records which data an index in a database is made of.

Without this, a second installation with a collection of the same name would replace shards of the
first one's live release.
"""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row, scalar_row

from clip_assets.errors import DatabaseError
from clip_assets.index.schema import require_schema
from clip_assets.index.statements import statement
from clip_assets.store import identity, paths
from clip_assets.store.objects import Objects

_SAMPLE = 20
"""How many loaded commits to look for in the store, if the database has no owner recorded."""

_REMEDY = (
    "use another collection name or another database, or hand the index over with `clip-assets "
    "verify --repair` if the former data is lost"
)


@dataclass(frozen=True)
class _Owner:
    data_id: str
    uri: str


def claim(connection: psycopg.Connection, objects: Objects, collection: str) -> None:
    """Check that the collection's index is made of this data; the first data to call this owns it.

    Call this before anything else is written. Raises DatabaseError if the index is made of other
    data, and the errors of `require_schema`. If the owner's data was lost, new data at the same
    place takes over.
    """
    require_schema(connection, collection)
    own = {
        "collection": collection,
        "data_id": identity.data_id(objects),
        "uri": objects.uri("").rstrip("/"),
    }
    owners = connection.cursor(row_factory=class_row(_Owner))
    with connection.transaction():
        if owners.execute(statement("owner"), own).fetchone() is None:
            _require_loaded_from(connection, objects, collection)
            connection.execute(statement("claim"), own)
        owner = owners.execute(statement("owner"), own).fetchone()
        assert owner is not None, "it was there or was added"
        if owner.data_id == own["data_id"]:
            if owner.uri != own["uri"]:
                connection.execute(statement("move_owner"), own)
        elif owner.uri != own["uri"]:
            raise DatabaseError(
                f"{collection} in this database is the index of the data at {owner.uri}, not of "
                f"that at {own['uri']}: {_REMEDY}."
            )
        elif _on_this_machine(connection, objects):
            _succeed(connection, own, owner)
        else:
            raise DatabaseError(
                f"{collection} in this database is the index of other data than that at "
                f"{own['uri']}, which is new or on another machine: restore the data, "
                f"{_REMEDY}."
            )


def former(connection: psycopg.Connection, objects: Objects, collection: str) -> str | None:
    """Address of the other data that the collection's index is made of; None if it is this data."""
    found = _recorded(connection, collection)
    return found.uri if found and found.data_id != identity.data_id(objects) else None


def hand_over(connection: psycopg.Connection, objects: Objects, collection: str) -> None:
    """Let this data own the collection's index, after the data that it is made of was lost.

    The next update replaces the loaded rows. Raises DatabaseError if the other data still exists.
    """
    own = {
        "collection": collection,
        "data_id": identity.data_id(objects),
        "uri": objects.uri("").rstrip("/"),
    }
    other = _recorded(connection, collection)
    if other is None or other.data_id == own["data_id"]:
        return
    data = Objects(other.uri)
    if data.exists(paths.IDENTITY) and identity.data_id(data) == other.data_id:
        raise DatabaseError(
            f"{collection} was not handed over, because the data at {other.uri} is still there: "
            "use another collection name or another database, or remove that data."
        )
    with connection.transaction():
        _succeed(connection, own, other)


def _succeed(connection: psycopg.Connection, own: dict[str, str], other: _Owner) -> None:
    connection.execute(statement("succeed_owner"), own | {"former": other.data_id})
    connection.execute(statement("lose_commits"), own)


def _recorded(connection: psycopg.Connection, collection: str) -> _Owner | None:
    owners = connection.cursor(row_factory=class_row(_Owner))
    return owners.execute(statement("owner"), {"collection": collection}).fetchone()


def _on_this_machine(connection: psycopg.Connection, objects: Objects) -> bool:
    """Whether the data that was at this address is lost, and the data there now is its successor.

    Another machine may have other data at the same path, but cannot reach the server by its
    socket.
    """
    return objects.folder is not None and connection.info.host.startswith("/")


def _require_loaded_from(connection: psycopg.Connection, objects: Objects, collection: str) -> None:
    """In a database from before owners were recorded, the ledger shows whose index it is."""
    newest = {"collection": collection, "count": _SAMPLE}
    cursor = connection.cursor(row_factory=scalar_row)
    paths = cursor.execute(statement("loaded_commits"), newest).fetchall()
    if paths and not any(objects.exists(path) for path in paths):
        raise DatabaseError(
            f"{collection} in this database was loaded from other data than that at "
            f"{objects.uri('').rstrip('/')}, which has none of its commits: {_REMEDY}."
        )
