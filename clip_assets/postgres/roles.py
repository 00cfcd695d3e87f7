"""The roles clip_reader and clip_loader, if this user may create them.

A managed Postgres may forbid its customers to create roles. Then the role that owns the schema does
everything, and the service uses read-only sessions. Missing rights are granted again, because
`pg_dump` does not save roles and their grants.
"""

import logging

import psycopg
from psycopg import sql
from psycopg.errors import DuplicateObject, InsufficientPrivilege, UniqueViolation
from psycopg.rows import scalar_row

from clip_assets.postgres.statements import statements

logger = logging.getLogger(__name__)

ROLES = ("clip_reader", "clip_loader")

_statement = statements("clip_assets.postgres", "roles.sql")


def incomplete(connection: psycopg.Connection) -> bool:
    """Whether roles or rights are missing that this user can create or grant."""
    missing = connection.cursor(row_factory=scalar_row).execute(_statement("rights_are_missing"))
    return bool(missing.fetchone())


def grant(connection: psycopg.Connection) -> None:
    """Create the roles and grant them their rights, as far as this user may.

    Call it in a transaction that holds the lock of migrations.
    """
    if not _created(connection):
        logger.warning(
            "The role %s may not create roles, so there is no clip_reader: the service is "
            "restricted only by read-only sessions. docs/postgres.md says how to create the role.",
            connection.info.user,
        )
        return
    connection.execute(_statement("grant_schema"))
    collections = connection.cursor(row_factory=scalar_row)
    for collection in collections.execute(_statement("collections_of_ours")).fetchall():
        grant_collection(connection, collection)


def grant_collection(connection: psycopg.Connection, collection: str) -> None:
    """Let clip_reader read the views of a collection, if the role exists."""
    if not exist(connection):
        return
    schema = sql.Identifier(collection)
    connection.execute(_statement("grant_collection", collection=schema))
    views = connection.cursor(row_factory=scalar_row)
    views.execute(_statement("views_of_collection"), {"collection": collection})
    for view in views.fetchall():
        granting = _statement("grant_view", collection=schema, view=sql.Identifier(view))
        connection.execute(granting)


def exist(connection: psycopg.Connection) -> bool:
    """Whether the server has both roles."""
    found = connection.execute(_statement("existing_roles")).fetchall()
    return len(found) == len(ROLES)


def _created(connection: psycopg.Connection) -> bool:
    """Create the roles that are missing; returns whether both exist."""
    found = connection.cursor(row_factory=scalar_row).execute(_statement("existing_roles"))
    for name in set(ROLES) - set(found):
        role = sql.Identifier(name)
        try:
            with connection.transaction():
                connection.execute(_statement("create_role", role=role))
        except InsufficientPrivilege:
            return False
        except (DuplicateObject, UniqueViolation):  # created meanwhile in another database
            continue
        with connection.transaction():
            connection.execute(_statement("become", role=role))
    return True
