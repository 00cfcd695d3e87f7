"""An embedded Postgres that ends under the running service is started again."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from clip_assets.errors import DatabaseError
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from serving import backoff, postgres_restart
from serving.live import Live
from serving.watcher import Watcher
from tests import web
from tests.integration.serving.support import (
    IMPATIENT,
    PATIENT,
    ServingSettings,
    drawn,
    publish,
    running,
    wait_until,
    wait_until_ready,
    wait_until_unready,
)

PICTURES = [drawn(number) for number in range(4)]


@pytest.fixture
def cluster(
    open_folder: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    tiny_spec: ModelSpec,
    tiny: Encoder,
) -> Iterator[Path]:
    """The data folder of an installation without any setting, with a live release."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(open_folder()))
    settings = Settings(_env_file=None)
    vectors = tiny.encode_images([picture.image for picture in PICTURES])
    with connect_owner(settings) as connection:
        publish(connection, tiny_spec, tiny.identity, PICTURES, vectors)
    yield settings.postgres_folder
    embedded.start(settings.postgres_folder).cleanup()


def _kill(cluster: Path) -> None:
    os.kill(int((cluster / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)


def _found(url: str) -> int:
    response = web.post(f"{url}/v1/search", json={"text": "x", "k": 4})
    return len(response.json().get("hits", []))


def test_a_killed_server_is_started_again(cluster: Path) -> None:
    """While it does not start, readiness says so and where to look; then searches work again."""
    settings = ServingSettings(_env_file=None, **PATIENT | IMPATIENT)
    own = cluster / "postgresql.auto.conf"
    with running(settings) as url:
        wait_until_ready(url)
        _kill(cluster)
        wait_until(lambda: _found(url) == 4, url)
        sound = own.read_text()
        own.write_text("no_such_setting = 1\n")
        _kill(cluster)
        wait_until_unready(url, f"ended and does not start, see {cluster / 'log'}")
        own.write_text(sound)
        wait_until_ready(url)
        wait_until(lambda: _found(url) == 4, url)


def test_attempts_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts to start a server that fails each time, the pause doubles, up to half a
    minute."""
    now, begun = [1000.0], []

    def fail(folder: Path) -> None:
        begun.append(now[0])
        raise RuntimeError("it does not start")

    monkeypatch.setattr(embedded, "dead", lambda: [Path("cluster")])
    monkeypatch.setattr(embedded, "start", fail)
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])

    async def attend_for(seconds: int) -> None:
        restart = postgres_restart.PostgresRestart()
        for _ in range(seconds):
            assert restart.poll()
            while restart.busy:
                await asyncio.sleep(0.01)
            now[0] += 1

    asyncio.run(attend_for(200))
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert set(pauses[5:]) == {backoff.LONGEST}


def test_a_first_start_is_tried_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not start costs little, however often the service looks."""
    now, begun = [1000.0], []

    def fail(_: Watcher) -> str:
        begun.append(now[0])
        raise DatabaseError("it does not start")

    monkeypatch.setattr(Watcher, "_dsn", fail)
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    watcher = Watcher(ServingSettings(_env_file=None), Live(silence_seconds=1))

    async def look_for(seconds: int) -> None:
        for _ in range(seconds):
            await watcher._connect()
            now[0] += 1

    asyncio.run(look_for(20))
    assert [later - earlier for earlier, later in pairwise(begun)] == [1, 2, 4, 8]
