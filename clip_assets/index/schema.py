"""Checks that the SQL schema with a collection's name is ours or unused."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from clip_assets.errors import DatabaseError
from clip_assets.index.statements import statement


@dataclass(frozen=True)
class _Schema:
    """The schema with the collection's name; `used` says whether anything is in it."""

    released: bool
    used: bool
    may_create: bool


def require_schema(connection: psycopg.Connection, collection: str) -> None:
    """Check that a release can create its views in the schema with the collection's name.

    Raises DatabaseError if the schema belongs to another application or cannot be created.
    """
    schemas = connection.cursor(row_factory=class_row(_Schema))
    schema = schemas.execute(statement("schema"), {"collection": collection}).fetchone()
    assert schema is not None, "a SELECT of functions gives a row"
    if schema.released:
        return
    if schema.used:
        raise DatabaseError(
            f"The schema {collection} in this database is another application's: it has objects, "
            f"and no release of {collection} is in the database. Name the collection differently, "
            f"use another database, or remove the schema if nothing in it is needed."
        )
    if not schema.may_create:
        raise DatabaseError(
            f"The role {connection.info.user} may not create views in the schema {collection}. Ask "
            f"an administrator to run CREATE SCHEMA {collection} AUTHORIZATION "
            f"{connection.info.user}, after dropping an empty one, or name the collection "
            "differently."
        )
