"""The database server is killed in mid-load, mid-build, mid-judgement and mid-release."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from clip_assets.index import build, load
from clip_assets.judge import judge
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect
from clip_assets.postgres.migrate import migrate
from clip_assets.release import release
from tests.integration.photos import Photos
from tests.integration.support import COLLECTION
from tests.integration.verify.test_verify import verified


@pytest.fixture
def own_server(
    open_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], str]]:
    """A function that starts the test's own server if it does not run, and returns its address."""
    folder = open_folder() / "postgres"

    def running() -> str:
        address = str(embedded.start(folder).get_uri())
        monkeypatch.setenv("DATABASE_URL", address)
        return address

    with connect(running()) as connection:
        migrate(connection)
    yield running


STEPS = [
    (load, "copy_shard", 1),
    (load, "copy_shard", 3),
    (build, "_build", 1),
    (judge, "_climb", 1),
    (release, "statement", 1),
    (release, "statement", 2),
]


@pytest.mark.promise("Each shard is loaded exactly once")
@pytest.mark.parametrize(
    "killed_at", STEPS, ids=[f"{m.__name__[12:]}-{n}-{k}" for m, n, k in STEPS]
)
def test_the_next_run_ends_what_the_killed_server_left(
    photos: Photos,
    own_server: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    killed_at: tuple[object, str, int],
) -> None:
    """Whichever call it was killed at, nothing is half loaded or half published, and the next run
    gives a sound release."""
    module, name, nth = killed_at
    calls = 0

    def counted(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(server, signal.SIGKILL)
        return whole(*arguments, **options)

    whole = getattr(module, name)
    with psycopg.connect(own_server(), autocommit=True) as doomed:
        (folder,) = doomed.execute("SHOW data_directory").fetchone() or ("",)
        server = int((Path(folder) / "postmaster.pid").read_text().split()[0])
        with monkeypatch.context() as patched, pytest.raises(psycopg.OperationalError):
            patched.setattr(module, name, counted)
            photos.publish(doomed)
    with psycopg.connect(own_server(), autocommit=True) as connection:
        photos.publish(connection)
        assert connection.execute(f"SELECT count(*) FROM {COLLECTION}.images").fetchone() == (30,)
    assert verified(photos)["faults"] == []
