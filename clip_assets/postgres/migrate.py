"""Numbered migrations: each is applied once, in order, and recorded by number and name.

All pending migrations run in one transaction: the database gets this program's whole schema or is
not changed, and no other session sees a partial one. The transaction also holds the advisory lock,
so the lock works behind a connection pooler.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.errors import (
    DuplicateColumn,
    DuplicateObject,
    DuplicateTable,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    UndefinedTable,
)
from psycopg.rows import scalar_row

from clip_assets.errors import DatabaseError, NeverMigratedError
from clip_assets.postgres import roles
from clip_assets.postgres.pgvector import install, require_pgvector
from clip_assets.postgres.statements import statements

_LOCK = 0x636C6970  # "clip"

_statement = statements("clip_assets.postgres", "migrate.sql")

_READ = ("index", "ledger", "release", "live")
_TABLES = (*_READ, "erased", "owner", "thumbnail", "human_judgement")
"""What the migrations create; searches need the first of them."""


@dataclass(frozen=True)
class Migration:
    """One step of the schema: the file `migrations/0001_tables.sql` is number 1, `tables`."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """The migrations that this program knows, in order."""
    found = []
    for file in files("clip_assets.postgres.migrations").iterdir():
        number, _, name = file.name.removesuffix(".sql").partition("_")
        if number.isdecimal():
            found.append(Migration(int(number), name, file.read_text()))
    return tuple(sorted(found, key=lambda one: one.number))


def migrate(
    connection: psycopg.Connection, *, allow_old_pgvector: bool = False
) -> tuple[Migration, ...]:
    """Apply the pending migrations and return them; usually there are none.

    Grants missing rights to the roles, too. If several processes call this at once, one does the
    work and the others wait. Raises DatabaseError and changes nothing if a newer program has
    migrated the database, if pgvector is missing or too old (`require_pgvector`), if the server is
    read-only, or if the role may not set up the schema.
    """
    try:
        require_pgvector(connection, allow_old=allow_old_pgvector)
        if not _pending(connection) and not roles.incomplete(connection):
            _require_whole(connection, _TABLES)
            return ()
        with migrations_locked(connection):
            pending = _pending(connection)  # none if another process was first
            if pending:
                _apply(connection, pending)
            _require_whole(connection, _TABLES)
            if pending or roles.incomplete(connection):
                roles.grant(connection)
    except (DuplicateTable, DuplicateColumn, DuplicateObject, UndefinedTable) as error:
        raise _not_whole(error.diag.message_primary or "") from error
    except InsufficientPrivilege as error:
        raise DatabaseError(
            f"The role {connection.info.user} may not set up the schema: "
            f"{error.diag.message_primary}. {_remedy(connection)}"
        ) from error
    except ReadOnlySqlTransaction as error:
        raise DatabaseError(
            f"The database at {connection.info.host} is read-only, as a standby is. Set "
            "DATABASE_URL to the primary server; only searches may use a standby."
        ) from error
    return pending


def require_migrated(connection: psycopg.Connection) -> None:
    """Check that this program can read the database; changes nothing.

    Raises NeverMigratedError if the database has no schema of ours, DatabaseError if the schema is
    older or newer than this program's, or if the role may not read it.
    """
    try:
        number = newest(connection)
    except InsufficientPrivilege as error:
        raise DatabaseError(
            f"The role {connection.info.user} may not read the index. Ask an administrator to run "
            f"GRANT clip_reader TO {connection.info.user}."
        ) from error
    if number is None:
        raise NeverMigratedError(
            "Nothing is released yet. Materialize `release` in Dagster, or run `clip-assets "
            "backfill`."
        )
    if _after(number):
        raise DatabaseError(
            f"The database is at migration {number}, but this version of clip_assets needs "
            f"migration {_latest()}: run `clip-assets migrate` as the role that owns the schema."
        )
    _require_whole(connection, _READ)


def _require_whole(connection: psycopg.Connection, tables: Sequence[str]) -> None:
    """Migrations that are recorded are not applied again, so a table that is gone stays away."""
    cursor = connection.cursor(row_factory=scalar_row)
    missing = cursor.execute(_statement("missing_tables"), {"tables": [*tables]}).fetchall()
    if missing:
        raise _not_whole(f"there is no table {', '.join(missing)}")


def _not_whole(what: str) -> DatabaseError:
    return DatabaseError(
        f"The schema clip_assets is not as it was made: {what}. Restore it from a backup. Without "
        "one, run DROP SCHEMA clip_assets CASCADE and the same for each collection's schema, then "
        "`clip-assets backfill` for each: all but people's judgements is made again from the files."
    )


def newest(connection: psycopg.Connection) -> int | None:
    """Number of the newest applied migration: 0 for a schema from before they were numbered, None
    if there is no schema of ours."""
    cursor = connection.cursor(row_factory=scalar_row)
    tables = cursor.execute(_statement("tables_of_migrations")).fetchall()
    if "migration" in tables:
        number: int | None = cursor.execute(_statement("newest_migration")).fetchone()
        return number
    return 0 if "applied_schema" in tables else None


@contextmanager
def migrations_locked(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction during which no other process migrates this database."""
    with connection.transaction():
        connection.execute(_statement("lock_migrations"), {"key": _LOCK})
        yield


def _pending(connection: psycopg.Connection) -> tuple[Migration, ...]:
    return _after(newest(connection) or 0)


def _after(number: int) -> tuple[Migration, ...]:
    """The migrations after this one. Raises DatabaseError if this program does not know it."""
    if number > _latest():
        raise DatabaseError(
            f"The database is at migration {number}, but this version of clip_assets only knows "
            f"migrations up to {_latest()}: upgrade clip_assets."
        )
    return tuple(one for one in migrations() if one.number > number)


def _latest() -> int:
    return migrations()[-1].number


def _apply(connection: psycopg.Connection, pending: tuple[Migration, ...]) -> None:
    before = newest(connection)
    if before is None:
        connection.execute(_statement("create_schema"))
    if not before:
        install(connection)
        connection.execute(_statement("create_table_of_migrations"))
    for migration in pending:
        unnumbered = before == 0 and migration.number == 1
        connection.execute(sql.SQL(_before_numbering() if unnumbered else migration.text))
        connection.execute(
            _statement("record_migration"),
            {"number": migration.number, "name": migration.name, "sha256": migration.sha256},
        )


def _remedy(connection: psycopg.Connection) -> str:
    if connection.execute(_statement("tables_of_migrations")).fetchone():
        return "Run this as the role that owns the schema clip_assets."
    info = connection.info
    return f"Ask an administrator to run GRANT CREATE ON DATABASE {info.dbname} TO {info.user}."


def _before_numbering() -> str:
    """What replaces the first migration if an unnumbered schema is already there."""
    return files("clip_assets.postgres").joinpath("before_numbering.sql").read_text()
