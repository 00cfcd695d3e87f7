"""Addresses and connections: the embedded Postgres, or the server in DATABASE_URL."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import scalar_row

from clip_assets.errors import DatabaseError, NeverMigratedError
from clip_assets.postgres import embedded
from clip_assets.postgres.address import checked
from clip_assets.postgres.migrate import migrate, migrations_locked, require_migrated
from clip_assets.postgres.pooler import behind_pooler
from clip_assets.postgres.session import ENCODING, ISOLATION, require_utf8, unusual
from clip_assets.settings import Settings

TIME_LIMITS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "idle_session_timeout",
)


def database_dsn(settings: Settings) -> str:
    """Connection string of the database; starts the embedded Postgres if DATABASE_URL is not set.

    The embedded server stops when the last process that uses it ends. Raises DatabaseError if it
    does not start, or like `checked`.
    """
    if settings.database_url:
        return checked(settings.database_url.get_secret_value())
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
    """Connection string for reading: on the embedded server, it logs in as clip_reader.

    If DATABASE_URL is set, returns it unchanged, because that server's administrator manages its
    roles. Otherwise raises like `connect_reader`.
    """
    address = database_dsn(settings)
    if settings.database_url:
        return address
    with connect(address) as connection:
        require_migrated(connection)
        _let_readers_log_in(connection)
    return make_conninfo(address, user="clip_reader")


def connect(address: str) -> psycopg.Connection:
    """A connection in autocommit mode, which prepares nothing behind a pooler.

    Raises DatabaseError if the server does not answer.
    """
    try:
        connection = psycopg.connect(
            address, autocommit=True, connect_timeout=10, client_encoding=ENCODING
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().split("\n")[0]
        raise DatabaseError(
            f"Postgres does not answer: {reason}. Check DATABASE_URL, or unset it to use the "
            "embedded server."
        ) from error
    if behind_pooler(connection):
        connection.prepare_threshold = None
    # A pooler hands this over with each of its connections, as it does few settings.
    for name, value in unusual(connection).items():
        connection.execute("SELECT set_config(%s, %s, false)", [name, value])
    return connection


def another_connection(connection: psycopg.Connection) -> psycopg.Connection:
    """A second connection to the same database, in autocommit mode and without time limits.

    The caller closes it.
    """
    info = connection.info
    other = connect(make_conninfo(info.dsn, password=info.password or None))
    _set_for_writing(other)
    return other


def connect_owner(settings: Settings) -> psycopg.Connection:
    """A connection that may write, without time limits; migrates the database first.

    Raises DatabaseError like `connect` and `migrate`.
    """

    def prepare(connection: psycopg.Connection) -> None:
        require_utf8(connection)
        _set_for_writing(connection)
        migrate(connection, allow_old_pgvector=settings.allow_old_pgvector)

    return _connect_and(prepare, database_dsn(settings))


def connect_reader(settings: Settings) -> psycopg.Connection:
    """A connection for reading; migrates nothing.

    On the embedded server it logs in as clip_reader. With DATABASE_URL, any role with the rights of
    clip_reader will do. Raises NeverMigratedError if the database has no schema of ours,
    DatabaseError if the schema is older or newer than this program's, or if the role may not read
    it.
    """
    return _connect_and(require_migrated, reader_dsn(settings))


def connect_reader_if_migrated(settings: Settings) -> psycopg.Connection | None:
    """`connect_reader`, or None if the database has no schema of ours."""
    try:
        return connect_reader(settings)
    except NeverMigratedError:
        return None


def connect_verifier(settings: Settings) -> psycopg.Connection | None:
    """A connection that changes nothing and may read what its address's own user may, or None if
    the database has no schema of ours.

    That is more than clip_reader may, which must not read which images were erased. Raises
    DatabaseError as `connect_reader`.
    """

    def prepare(connection: psycopg.Connection) -> None:
        require_migrated(connection)
        if not behind_pooler(connection):
            connection.execute("SET default_transaction_read_only = on")

    try:
        return _connect_and(prepare, database_dsn(settings))
    except NeverMigratedError:
        return None


def _connect_and(
    prepare: Callable[[psycopg.Connection], object], address: str
) -> psycopg.Connection:
    with ExitStack() as opened:
        connection = opened.enter_context(connect(address))
        prepare(connection)
        opened.pop_all()
    return connection


def _set_for_writing(connection: psycopg.Connection) -> None:
    """Turn off the session's time limits, because loading a shard or building a graph takes long.

    Older servers lack some of these settings. Behind a pooler nothing is set, because the settings
    would leak to other clients.
    """
    if behind_pooler(connection):
        return
    connection.execute(
        "SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = ANY(%s)",
        [[*TIME_LIMITS]],
    )
    # Locks keep our writers apart; in stricter isolation one of them would fail instead of waiting.
    connection.execute("SELECT set_config(%s, %s, false)", [*ISOLATION])


def _let_readers_log_in(connection: psycopg.Connection) -> None:
    if _readers_may_log_in(connection):
        return
    with migrations_locked(connection):  # ALTER ROLE fails if two processes run it at once
        if not _readers_may_log_in(connection):
            login = files("clip_assets.postgres").joinpath("reader_login.sql").read_text()
            connection.execute(sql.SQL(login))


def _readers_may_log_in(connection: psycopg.Connection) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    cursor.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clip_reader'")
    return bool(cursor.fetchone())
