"""Without its database the service answers 503 within its deadline, and recovers by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

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
