"""The service's access to Postgres: read-only, in threads, never past a deadline."""

import logging
import os
import select
import socket
from collections.abc import Callable
from threading import Lock, local
from typing import TypeVar

from psycopg import Connection, OperationalError
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from clip_assets.errors import DatabaseError
from clip_assets.postgres.session import ENCODING

from .bulkhead import Bulkhead, Deadline
from .errors import DeadlineExceeded
from .reader import Reader
from .settings import ServingSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")

# After giving up, the pool reconnects at the next request or probe. With a longer timeout it would
# back off, and stay disconnected for as long again as the outage lasted.
RECONNECT_SECONDS = 1.0
# Without keepalives, a peer that vanishes silently would block a thread forever.
CONNECTION = {
    "autocommit": True,
    "connect_timeout": 2,
    "client_encoding": ENCODING,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5_000,
    "application_name": "clip_assets serving",
}


class Lease:
    """The connection that one call holds, so that its deadline can close the socket from outside.

    psycopg waits for the server even when cancelling; on a frozen server it would wait forever.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._wire: socket.socket | None = None
        self._cut = False

    def hold(self, connection: Connection[TupleRow]) -> None:
        with self._lock:
            self._let_go()
            if self._cut:
                raise OperationalError("the request's deadline has passed")
            self._wire = socket.socket(fileno=os.dup(connection.fileno()))

    def end(self) -> None:
        with self._lock:
            self._let_go()

    def cut(self) -> None:
        """Make the call that holds the connection fail now; the pool then drops the connection."""
        with self._lock:
            self._cut = True
            if self._wire:
                self._wire.shutdown(socket.SHUT_RDWR)
            self._let_go()

    def _let_go(self) -> None:
        if self._wire:
            self._wire.close()
        self._wire = None


class Database:
    """A pool of connections of one kind, each used in a thread of one bulkhead.

    `fault` says why connections open but cannot be used; None if they can, or if none ever opened.
    """

    def __init__(
        self,
        dsn: str,
        settings: ServingSettings,
        kind: type[Reader] = Reader,
        size: int | None = None,
    ) -> None:
        size = size or settings.pool_size
        self.fault: str | None = None
        self._said = False
        self._settings = settings
        self._here = local()
        self._bulkhead = Bulkhead("database", size, settings.database_waiting)
        self._watch = Bulkhead("watch", 1, 0)
        self._pool = ConnectionPool(
            dsn,
            connection_class=kind,
            kwargs=CONNECTION,
            min_size=1,
            max_size=size + 1,
            open=True,
            configure=self._configure,
            check=self._check,
            timeout=settings.acquire_seconds,
            max_waiting=0,  # the bulkhead limits waiting; the pool keeps counting waiters that left
            reconnect_timeout=RECONNECT_SECONDS,
            name="serving",
        )

    async def run(self, work: Callable[[Connection[TupleRow]], T], deadline: Deadline) -> T:
        """The result of `work` on a connection, by the deadline."""
        return await self._leased(self._bulkhead, work, deadline)

    @property
    def idle(self) -> int:
        """How many calls could run now without one of others waiting."""
        return self._bulkhead.idle

    async def probe(self, work: Callable[[Connection[TupleRow]], T]) -> T:
        """Run `work` ahead of any queue, in the time a healthy database needs to answer; then
        replace idle connections that a server restart broke."""
        result = await self.glance(work)
        within = Deadline.within(self._settings.probe_seconds)
        await self._watch.run(self._pool.check, within)
        return result

    async def glance(self, work: Callable[[Connection[TupleRow]], T]) -> T:
        """Like `probe`, but replaces no connections."""
        within = Deadline.within(self._settings.probe_seconds)
        return await self._leased(self._watch, work, within)

    def close(self) -> None:
        self._bulkhead.close()
        self._watch.close()
        self._pool.close(timeout=1)

    async def _leased(
        self, bulkhead: Bulkhead, work: Callable[[Connection[TupleRow]], T], deadline: Deadline
    ) -> T:
        lease = Lease()
        try:
            return await bulkhead.run(lambda: self._on_connection(work, lease), deadline)
        except DeadlineExceeded:
            lease.cut()
            raise

    def _on_connection(self, work: Callable[[Connection[TupleRow]], T], lease: Lease) -> T:
        self._here.lease = lease
        try:
            with self._pool.connection() as connection, connection.guarded():
                return work(connection)
        finally:
            lease.end()

    def _check(self, connection: Reader) -> None:
        """Start the lease before the pool's check, which waits forever on a frozen server.

        A server that closed the connection has said so, which is there to be read, so only then is
        it asked: a round trip before every search takes a tenth of its processor time.
        """
        self._here.lease.hold(connection)
        if _has_said_something(connection):
            ConnectionPool.check_connection(connection)

    def _configure(self, connection: Reader) -> None:
        try:
            connection.guard(self._settings.deadline_seconds)
        except DatabaseError as error:
            self.fault = str(error)
            raise
        self.fault = None
        if not connection.acts_as_reader and not self._said:
            self._said = True
            logger.warning(
                "the database user %s may not act as clip_reader, or there is no such role: only "
                "read-only transactions keep this service from writing to the database",
                connection.info.user,
            )


def _has_said_something(connection: Reader) -> bool:
    """Whether the server sent something between two requests, as it does when it closes."""
    wire = select.poll()
    wire.register(connection.fileno(), select.POLLIN)
    return bool(wire.poll(0))
