"""Loaders killed with SIGKILL."""

import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import psycopg
import pytest

from clip_assets.index import tables
from clip_assets.store.objects import Objects
from tests.integration.support import Made, find, fingerprint, load_all, reader, reconcile

ROWS = 100
KILLS = 50


@pytest.mark.promise("Each shard is loaded exactly once")
def test_killed_at_random_moments(
    new_database: Callable[[], str],
    tmp_path: Path,
    processes: ForkServerContext,
    moments: Random,
) -> None:
    """Fifty loaders are killed at random moments. Whenever all shards of a version are loaded, the
    table is that of an undisturbed load, with one ledger row a shard; readers saw each shard whole
    or not at all."""
    made = Made(Objects(str(tmp_path / "many")))
    version, left = 0, []
    with (
        psycopg.connect(new_database(), autocommit=True) as connection,
        psycopg.connect(new_database(), autocommit=True) as elsewhere,
    ):
        index = tables.ensure(connection, made.asked, made.model.identity)
        while len(left) < KILLS:
            version += 1
            for number in range(10):
                made.add(f"{number:05d}", ROWS, version=version)
            undisturbed, seconds = _undisturbed(elsewhere, made, processes)
            with reader(connection.info.dsn, index, {0, ROWS} if version == 1 else {ROWS}):
                while len(left) < KILLS and _killed(
                    connection, made, processes, moments.uniform(0, seconds)
                ):
                    left.append(_loaded(connection, version))
                reconcile(connection, made)
            assert fingerprint(connection, index) == undisturbed
            assert [row[0] for row in undisturbed[1]] == made.shards
    assert 0 in left, "some were killed before they had loaded anything"
    assert any(0 < shards < 10 for shards in left), "and some in the midst of their work"


def _undisturbed(
    connection: psycopg.Connection, made: Made, processes: ForkServerContext
) -> tuple[tuple[str, list[tuple[object, ...]]], float]:
    """The result of an undisturbed loader, and the seconds that it takes."""
    loader = processes.Process(target=load_all, args=(connection.info.dsn, made))
    started = time.monotonic()
    loader.start()
    loader.join()
    assert loader.exitcode == 0
    return fingerprint(connection, find(connection, made)), time.monotonic() - started


def _killed(
    connection: psycopg.Connection, made: Made, processes: ForkServerContext, seconds: float
) -> bool:
    """Kill a loader this long after its start; returns whether it was still running."""
    loader = processes.Process(target=load_all, args=(connection.info.dsn, made))
    loader.start()
    loader.join(seconds)
    loader.kill()
    loader.join()
    assert loader.exitcode in (0, -signal.SIGKILL)
    return loader.exitcode != 0


def _loaded(connection: psycopg.Connection, version: int) -> int:
    loaded = "SELECT count(*) FROM clip_assets.ledger WHERE version = %s"
    return (connection.execute(loaded, [version]).fetchone() or (0,))[0]
