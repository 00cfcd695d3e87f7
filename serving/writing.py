"""The service's only way to write: separate connections, opened for the first judgement."""

from collections.abc import Callable
from typing import TypeVar

from psycopg import Connection, errors, sql
from psycopg.rows import TupleRow

from clip_assets.errors import DatabaseError
from clip_assets.postgres.address import checked
from clip_assets.postgres.connect import database_dsn
from clip_assets.postgres.pooler import behind_pooler
from clip_assets.postgres.session import ISOLATION, unusual
from clip_assets.settings import Settings

from .background import daemon
from .bulkhead import Deadline
from .database import Database
from .errors import NotReady, ReadOnly
from .reader import Reader
from .settings import ServingSettings

T = TypeVar("T")

_AT_ONCE = 2


class Writer(Reader):
    """A connection with its user's rights and a time limit for each statement."""

    acts_as_reader = True  # so that the pool does not warn

    def guard(self, seconds: float) -> None:
        """Limit statements to `seconds`."""
        if behind_pooler(self):
            self.prepare_threshold = None
            return
        timeout = sql.Literal(int(seconds * 1000))
        self.execute(sql.SQL("SET statement_timeout = {}").format(timeout))
        for name, value in {**unusual(self), **dict([ISOLATION])}.items():
            self.execute("SELECT set_config(%s, %s, false)", [name, value])


class Writing:
    """Writes on other connections than those of searches."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._database: Database | None = None

    def require(self) -> None:
        """Raises ReadOnly if this service must not write."""
        if self._settings.read_only:
            raise ReadOnly("This service only reads. Use the service that it is a copy of.")

    async def run(self, work: Callable[[Connection[TupleRow]], T], deadline: Deadline) -> T:
        """The result of `work`, by the deadline.

        Raises ReadOnly if this service, its database or its database user may only read.
        """
        self.require()
        if self._database is None:
            try:
                dsn = await daemon("postgres", self._dsn)
            except DatabaseError as error:
                raise NotReady(str(error)) from error
            self._database = self._database or Database(dsn, self._settings, Writer, _AT_ONCE)
        try:
            return await self._database.run(work, deadline)
        except errors.InsufficientPrivilege as error:
            raise ReadOnly(
                "This service's database user may not write judgements. Ask an administrator to "
                "run GRANT INSERT, UPDATE, DELETE ON clip_assets.human_judgement."
            ) from error
        except errors.ReadOnlySqlTransaction as error:
            raise ReadOnly("The database is a standby, which only reads.") from error

    def close(self) -> None:
        if self._database:
            self._database.close()

    def _dsn(self) -> str:
        if self._settings.dsn:
            return checked(self._settings.dsn.get_secret_value(), "CLIP_ASSETS_SERVING_DSN")
        return database_dsn(Settings())
