"""The service's database connections: their privileges, and what happens to slow statements."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from serving.bulkhead import Deadline
from serving.database import Database
from serving.errors import Busy, DeadlineExceeded
from tests.integration.serving.support import settings

T = TypeVar("T")


def _on_one_connection(dsn: str, *calls: Callable[[Connection[TupleRow]], T]) -> list[T]:
    async def scenario() -> list[T]:
        database = Database(dsn, settings(dsn, pool_size=1, deadline_seconds=3))
        try:
            return [await database.run(call, Deadline.within(60)) for call in calls]
        finally:
            database.close()

    return asyncio.run(scenario())


def test_the_service_connects_as_a_reader(new_database: Callable[[], str]) -> None:
    """Its role is clip_reader, read-only, with a timeout for each statement."""
    asked = (
        "SELECT current_user, current_setting('transaction_read_only'), "
        "current_setting('statement_timeout')"
    )
    (row,) = _on_one_connection(new_database(), lambda conn: conn.execute(asked).fetchone())
    assert row == ("clip_reader", "on", "3s")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO clip_assets.thumbnail VALUES ('a', 'b')",
        "DELETE FROM clip_assets.release",
        "CREATE TABLE clip_assets.mine (a int)",
        "SELECT pg_read_file('PG_VERSION')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
def test_a_reader_cannot_change_anything(new_database: Callable[[], str], statement: str) -> None:
    """Writes, DDL and file access are refused, even if the session turns read-only off."""

    def attempt(connection: Connection[TupleRow]) -> None:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _on_one_connection(new_database(), attempt)


async def _when_free(database: Database) -> tuple[object, ...] | None:
    until = time.monotonic() + 300
    while True:
        try:
            return await database.run(
                lambda conn: conn.execute("SELECT 1").fetchone(), Deadline.within(60)
            )
        except Busy:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


def test_a_slow_statement_is_cut_at_its_deadline(
    new_database: Callable[[], str],
) -> None:
    """The caller returns at the deadline, and the only thread is free long before the statement
    would have ended."""

    async def scenario() -> None:
        dsn = new_database()
        limits = {"pool_size": 1, "database_waiting": 0, "deadline_seconds": 1000}
        database = Database(dsn, settings(dsn, **limits))
        with pytest.raises(DeadlineExceeded):
            await database.run(
                lambda conn: conn.execute("SELECT pg_sleep(900)"), Deadline.within(0.3)
            )
        assert await _when_free(database) == (1,)
        database.close()

    asyncio.run(scenario())


def test_a_connection_that_the_server_closed_is_not_used(new_database: Callable[[], str]) -> None:
    """The next call gets another one, and does not fail."""
    dsn = new_database()

    def end_others(connection: Connection[TupleRow]) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE application_name = 'clip_assets serving' AND datname = current_database()"
        )

    async def scenario() -> None:
        database = Database(dsn, settings(dsn, pool_size=1))
        try:
            first = await database.run(lambda conn: conn.info.backend_pid, Deadline.within(60))
            with psycopg.connect(dsn, autocommit=True) as other:
                end_others(other)
            assert await database.run(
                lambda conn: conn.execute("SELECT pg_backend_pid()").fetchone(),
                Deadline.within(60),
            ) != (first,)
        finally:
            database.close()

    asyncio.run(scenario())
