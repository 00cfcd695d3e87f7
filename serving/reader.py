"""Restricts the service's connections: they only read, and every statement has a time limit."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow, scalar_row

from clip_assets.errors import DatabaseError
from clip_assets.postgres.migrate import require_migrated
from clip_assets.postgres.pooler import behind_pooler
from clip_assets.postgres.session import ISOLATION, unusual
from clip_assets.postgres.statements import statements

_statement = statements(__package__, "reader.sql")


class Reader(Connection[TupleRow]):
    """A connection that is restricted once, or in every transaction if a pooler shares its session.

    It acts as clip_reader if that role can read and the connection's user may act as it. Otherwise
    only read-only transactions keep the service from writing.
    """

    acts_as_reader = False
    _each_time: sql.Composed | None = None

    def guard(self, seconds: float) -> None:
        """Make the session read-only and limit statements to `seconds`.

        Raises DatabaseError if the schema is of another version, or if the user may not read it.
        """
        pooled = behind_pooler(self)
        if pooled:
            self.prepare_threshold = None
        self.acts_as_reader = _says(self, "may_act_as_reader")
        settings = {
            **({"role": "clip_reader"} if self.acts_as_reader else {}),
            "statement_timeout": str(int(seconds * 1000)),
            "idle_in_transaction_session_timeout": "10s",
            **unusual(self),
            **({} if pooled else dict([ISOLATION])),
            "transaction_read_only" if pooled else "default_transaction_read_only": "on",
        }
        calls = [
            sql.SQL("set_config({}, {}, {})").format(name, value, pooled)
            for name, value in settings.items()
        ]
        guarding = sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))
        if pooled:
            self._each_time = guarding
        else:
            self.execute(guarding)
        with self.guarded():
            _require_readable(self)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Run statements within this block. Behind a pooler, it is a transaction."""
        if self._each_time is None:
            yield
            return
        with self.transaction():
            self.execute(self._each_time)
            yield


def may_not_read(connection: Connection[TupleRow]) -> DatabaseError:
    """The error for a user who may not read the index, with the GRANT for an administrator."""
    user = sql.Identifier(connection.info.user)
    if _says(connection, "reader_can_read"):
        remedy = sql.SQL("GRANT clip_reader TO {}").format(user)
    else:
        remedy = sql.SQL(
            "GRANT USAGE ON SCHEMA clip_assets TO {0}; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA clip_assets TO {0}"
        ).format(user)
    return DatabaseError(
        f"The database user {connection.info.user} may not read the index. Ask an administrator to "
        f"run {remedy.as_string()}."
    )


def _require_readable(connection: Connection[TupleRow]) -> None:
    try:
        with connection.transaction():
            require_migrated(connection)
    except DatabaseError as error:
        if isinstance(error.__cause__, errors.InsufficientPrivilege):
            raise may_not_read(connection) from error
        raise


def _says(connection: Connection[TupleRow], name: str) -> bool:
    asked = connection.cursor(row_factory=scalar_row).execute(_statement(name))
    return bool(asked.fetchone())
