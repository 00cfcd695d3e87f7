"""Without its database the service answers 503 within its deadline, and recovers by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests import web
from tests.integration.serving.support import (
    IMPATIENT,
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until,
    wait_until_ready,
    wait_until_unready,
)
from tests.integration.serving.wire import Wire


@pytest.fixture
def wire(new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder) -> Wire:
    pictures = [drawn(number) for number in range(4)]
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        vectors = tiny.encode_images([picture.image for picture in pictures])
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    return Wire(dsn)


@contextmanager
def _served(wire: Wire, **values: float) -> Iterator[str]:
    with running(settings(wire.dsn, **values)) as url:
        wait_until_ready(url)
        try:
            yield url
        finally:
            wire.heal()


def _ask(url: str) -> int:
    response = web.post(f"{url}/v1/search", json={"text": "x"}, timeout=120)
    assert response.status_code == 200 or "retry-after" in response.headers
    return response.status_code


def _wait_for_answers(url: str) -> None:
    wait_until_ready(url)
    until = time.monotonic() + 120
    while _ask(url) != 200:
        assert time.monotonic() < until


def test_a_frozen_database_is_503_by_the_deadline(wire: Wire) -> None:
    """No request waits past its deadline, readiness follows, and all recovers.

    While the database is silent, nothing but the deadline can end a request.
    """
    with _served(wire, **IMPATIENT, deadline_seconds=1) as url:
        wire.deaf()
        assert {_ask(url) for _ in range(4)} == {503}
        wait_until_unready(url, "the database does not answer")
        wire.heal()
        _wait_for_answers(url)


def test_a_dead_database_is_503_at_once(wire: Wire) -> None:
    """Requests fail long before their deadline, however long the outage lasts."""
    deadline = 120
    with _served(wire, **IMPATIENT, deadline_seconds=deadline) as url:
        wire.cut()
        outage = time.monotonic()
        while time.monotonic() - outage < 6:
            started = time.monotonic()
            assert _ask(url) == 503
            assert time.monotonic() - started < deadline / 2
        wire.mend()
        _wait_for_answers(url)


def test_a_database_that_was_never_there_is_503() -> None:
    """The service is alive but unready, and its message does not contain the database address."""
    with running(settings("postgresql://someone:secret@127.0.0.1:1/none", **IMPATIENT)) as url:
        wait_until_unready(url, "the database does not answer")
        assert web.get(f"{url}/livez").status_code == 200
        status, answer = readiness(url)
        assert status == 503
        assert answer["problems"]["database"] == "the database does not answer"
        assert _ask(url) == 503
        assert "secret" not in str(answer)


def test_a_failover_to_another_address_needs_no_restart(wire: Wire) -> None:
    """With both addresses in the connection string: 503 while neither accepts connections, and
    answers once the second one does."""
    other = Wire(wire.direct)
    other.cut()
    both = {"host": "127.0.0.1,127.0.0.1", "port": f"{wire.port},{other.port}"}
    dsn = make_conninfo(wire.dsn, **both)
    with running(settings(dsn, **IMPATIENT)) as url:
        wait_until_ready(url)
        wire.cut()
        wait_until_unready(url, "the database does not answer")
        assert {_ask(url) for _ in range(10)} == {503}
        other.mend()
        _wait_for_answers(url)
        assert {_ask(url) for _ in range(10)} == {200}
        other.cut()


def test_a_database_without_free_connections_is_503(wire: Wire) -> None:
    """Each request is answered, and all recovers once there are connections again."""
    name = conninfo_to_dict(wire.direct)["dbname"]
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")

    def set_limit(most: int) -> None:
        """Of other connections than those of a superuser, who is let in nevertheless."""
        with psycopg.connect(wire.direct, autocommit=True) as connection:
            connection.execute(limit.format(sql.Identifier(str(name)), sql.Literal(most)))

    def unready_once_cut_off() -> bool:
        # Each time, because a connection that was opening when the limit was set is accepted.
        with psycopg.connect(wire.direct, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return "the database does not answer" in str(readiness(url)[1]["problems"])

    with psycopg.connect(wire.direct, autocommit=True) as connection:
        role = sql.Identifier(f"reader of {name}")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE clip_reader").format(role))
    reader = make_conninfo(wire.direct, user=f"reader of {name}")
    with running(settings(reader, **IMPATIENT)) as url:
        wait_until_ready(url)
        set_limit(0)
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(reader)
        wait_until(unready_once_cut_off, url)
        assert {_ask(url) for _ in range(20)} == {503}
        set_limit(-1)
        _wait_for_answers(url)
