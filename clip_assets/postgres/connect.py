"""Postgres with pgvector: the embedded one, or the one that DATABASE_URL names."""

import hashlib
import subprocess
from importlib.resources import files

import psycopg
from psycopg import sql

from clip_assets.errors import DatabaseError
from clip_assets.postgres import embedded
from clip_assets.settings import Settings

PGVECTOR_FLOOR = (0, 8, 4)
"""Iterative index scans, which filters and refreshed shards rely on, came with 0.8.0. Before 0.8.3
a VACUUM, which every erasure ends with, could damage an HNSW, and before 0.8.4 it could fail, or
an insert beside it (pgvector's CHANGELOG)."""

_MIGRATION_LOCK = 0x636C6970  # "clip"


def database_dsn(settings: Settings) -> str:
    """Connection string of the database; starts the embedded Postgres if none is named.

    The embedded server stops with the last process that asked for it.
    """
    if settings.database_url:
        return settings.database_url.get_secret_value()
    settings.postgres_folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = embedded.start(settings.postgres_folder)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise DatabaseError(
            f"The embedded Postgres in {settings.postgres_folder} did not start. See `log` in that "
            "folder, set CLIP_ASSETS_HOME to a disk with space, or DATABASE_URL to a server."
        ) from error
    return str(server.get_uri())


def reader_dsn(settings: Settings) -> str:
    """Connection string for those who only ask: the embedded server lets them in as clip_reader.

    Of a server that DATABASE_URL names, whose roles are its administrator's, it is that address.
    """
    address = database_dsn(settings)
    if settings.database_url:
        return address
    with connect_owner(settings) as connection:
        row = connection.execute(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clip_reader'"
        ).fetchone()
        if row == (False,):
            login = files("clip_assets.postgres").joinpath("reader_login.sql").read_text()
            connection.execute(sql.SQL(login))
    return psycopg.conninfo.make_conninfo(address, user="clip_reader")


def connect(address: str) -> psycopg.Connection:
    """A connection in autocommit mode. Raises DatabaseError if nothing answers."""
    try:
        return psycopg.connect(address, autocommit=True, connect_timeout=10)
    except psycopg.ProgrammingError as error:  # its text may quote the address, password and all
        raise DatabaseError(
            "DATABASE_URL is not an address of Postgres. Write it as "
            "postgresql://user:password@host:5432/database, or unset it to use the embedded server."
        ) from error
    except psycopg.OperationalError as error:
        reason = str(error).strip().split("\n")[0]
        raise DatabaseError(
            f"Postgres does not answer: {reason}. Check DATABASE_URL, or unset it to use the "
            "embedded server."
        ) from error


def another_connection(connection: psycopg.Connection) -> psycopg.Connection:
    """One more connection to where this one goes, in autocommit mode; the caller closes it."""
    info = connection.info
    return psycopg.connect(info.dsn, password=info.password or None, autocommit=True)


def connect_owner(settings: Settings) -> psycopg.Connection:
    """A connection that may write, to a database with the current schema."""
    connection = connect(database_dsn(settings))
    migrate(connection)
    return connection


def migrate(connection: psycopg.Connection) -> None:
    """Bring the schema up to date; does nothing where it already is.

    Raises DatabaseError if pgvector is missing, too old, or the role may not do this.
    """
    text = files("clip_assets.postgres").joinpath("schema.sql").read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    _require_pgvector(connection)
    if _applied(connection) == digest:
        return
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            if _applied(connection) == digest:
                return
            connection.execute(sql.SQL(text))
            connection.execute("DELETE FROM clip_assets.applied_schema")
            connection.execute("INSERT INTO clip_assets.applied_schema VALUES (%s)", [digest])
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"The role in DATABASE_URL may not set up the schema: {error.diag.message_primary}. "
            "Let an administrator grant it CREATE on the database and CREATEROLE."
        ) from error


def _applied(connection: psycopg.Connection) -> str | None:
    found = connection.execute("SELECT to_regclass('clip_assets.applied_schema')").fetchone()
    if not found or found[0] is None:
        return None
    row = connection.execute("SELECT sha256 FROM clip_assets.applied_schema").fetchone()
    return row[0] if row else None


def _require_pgvector(connection: psycopg.Connection) -> None:
    """The floor holds for the version installed in the database, else for the one it would be."""
    row = connection.execute(
        "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions "
        "WHERE name = 'vector'"
    ).fetchone()
    if row is None:
        raise DatabaseError(
            "This Postgres has no pgvector. Install the package (postgresql-NN-pgvector on "
            "Debian, or your provider's switch), or unset DATABASE_URL to use the embedded server."
        )
    version = tuple(int(number) for number in row[0].split("."))
    if version < PGVECTOR_FLOOR:
        floor = ".".join(map(str, PGVECTOR_FLOOR))
        raise DatabaseError(
            f"This Postgres has pgvector {row[0]}; {floor} or newer is needed. Upgrade the "
            "package, then run ALTER EXTENSION vector UPDATE."
        )
