"""Without its database the service answers 503 within its deadline, and recovers by itself."""

import time
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest

from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from tests.integration.serving.support import (
    drawn,
    publish,
    readiness,
    running,
    settings,
    wait_until_ready,
)
from tests.integration.serving.wire import Wire

DEADLINE = 1.0


@pytest.fixture
def wire(new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder) -> Wire:
    pictures = [drawn(number) for number in range(4)]
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        vectors = tiny.encode_images([picture.image for picture in pictures])
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
    return Wire(dsn)


@pytest.fixture
def url(wire: Wire) -> Iterator[str]:
    with running(settings(wire.dsn, deadline_seconds=DEADLINE)) as url:
        wait_until_ready(url)
        yield url
        wire.heal()


def _ask(url: str) -> tuple[int, float]:
    started = time.monotonic()
    response = httpx.post(f"{url}/v1/search", json={"text": "x"}, timeout=10)
    assert response.status_code == 200 or "retry-after" in response.headers
    return response.status_code, time.monotonic() - started


def _seconds_until(url: str, status: int) -> float:
    started = time.monotonic()
    while readiness(url)[0] != status:
        assert time.monotonic() - started < 20
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_frozen_database_is_503_by_the_deadline(wire: Wire, url: str) -> None:
    """No request waits past its deadline, readiness follows within seconds, and all recovers."""
    wire.deaf()
    answers = [_ask(url) for _ in range(4)]
    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < DEADLINE + 0.3
    assert _seconds_until(url, 503) < 4
    wire.heal()
    assert _seconds_until(url, 200) < 5
    assert _ask(url)[0] == 200


def test_a_dead_database_is_503_at_once(wire: Wire, url: str) -> None:
    """Requests fail in under a second, however long the outage lasts."""
    wire.cut()
    outage = time.monotonic()
    while time.monotonic() - outage < 6:
        status, seconds = _ask(url)
        assert status == 503
        assert seconds < 1
    wire.mend()
    assert _seconds_until(url, 200) < 5
    assert _ask(url)[0] == 200


def test_a_database_that_was_never_there_is_503() -> None:
    """The service is alive but unready, and its message does not contain the database address."""
    with running(settings("postgresql://someone:secret@127.0.0.1:1/none")) as url:
        time.sleep(1.5)
        assert httpx.get(f"{url}/livez").status_code == 200
        status, answer = readiness(url)
        assert status == 503
        assert answer["problems"]["database"] == "the database does not answer"
        status, seconds = _ask(url)
        assert (status, seconds < 0.5) == (503, True)
        assert "secret" not in str(answer)
