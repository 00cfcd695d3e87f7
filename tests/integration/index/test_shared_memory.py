"""A Postgres with little shared memory, as in a container, still builds the HNSW."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg.errors import DiskFull

from clip_assets.errors import DatabaseError
from clip_assets.index import build, tables
from clip_assets.postgres.machine import Machine
from clip_assets.postgres.migrate import migrate
from tests.integration.support import Made, reconcile
from tests.provider import provider

_IN_SMALL = 'mount -t tmpfs -o size=8m,mode=1777 tmpfs /dev/shm && exec "$@"'


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder that the small /dev/shm does not hide, as it may those of other tests."""
    with TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)  # for the user that a server of root's runs as
        yield Path(name)


@pytest.fixture
def small(on_disk: Path) -> Iterator[psycopg.Connection]:
    """A connection to a server that sees a /dev/shm of 8 MB, and builds any table in parallel."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small /dev/shm")
    with provider(on_disk, 18, "min_parallel_table_scan_size = 0") as server:
        at = ["-D", str(server.folder), "-w"]
        server.run("pg_ctl", *at, "-m", "fast", "stop")
        start = [str(server.binaries / "pg_ctl"), *at, "-l", str(server.folder / "log"), "start"]
        as_user = ["runuser", "-u", server.user, "--"] if server.user else []
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", _IN_SMALL, "sh", *as_user, *start], check=True
        )
        with server.administrator() as connection:
            migrate(connection)
            yield connection


@pytest.fixture(autouse=True)
def _parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are built as many are, on a machine with two processors."""
    monkeypatch.setattr(build, "PARALLEL_FROM_ROWS", 1)
    monkeypatch.setattr(build, "machine_of", lambda _: Machine(memory=1 << 30, processors=2))


def test_the_graph_is_built_by_one_process(small: psycopg.Connection, made: Made) -> None:
    """A parallel build has no room; the report says what to set, and the graph is there."""
    index = reconcile(small, made).index
    lines: list[str] = []
    assert build.build(small, index, 200, lines.append)
    (said,) = [line for line in lines if "shared memory" in line]
    assert "docker run --shm-size=1g" in said
    assert "No space left on device" in said
    assert lines[-2].endswith("at most 0 workers")
    assert tables.has_hnsw(small, index)
    assert small.execute("SHOW max_parallel_maintenance_workers").fetchone() == ("2",)


def test_a_full_disk_is_a_sentence(
    connection: psycopg.Connection, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not mistaken for little shared memory: one attempt, and what to do."""
    index = reconcile(connection, made).index
    attempts = []

    def full(*_: object) -> None:
        attempts.append(1)
        raise DiskFull("could not extend file")

    monkeypatch.setattr(build, "create_statement", full)
    with pytest.raises(DatabaseError, match="Postgres has no space left"):
        build.build(connection, index, 200)
    assert len(attempts) == 1
