"""The embedded server: nobody else reaches it, it ends with its users, and it starts again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from clip_assets.errors import DatabaseError
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import database_dsn
from clip_assets.settings import Settings

LONG = "a" * 120
# A shell's background jobs, and nohup's, ignore signals that these tests send.
USE = """
import signal, sys, time
from pathlib import Path
from clip_assets.postgres import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
embedded.start(Path(sys.argv[1]))
print("started", flush=True)
time.sleep(3600)
"""
COMMAND = """
import signal, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from clip_assets.cli.app import app
from clip_assets.postgres.connect import database_dsn
from clip_assets.settings import Settings

@app.command()
def wait() -> None:
    database_dsn(Settings())
    print("started", flush=True)
    time.sleep(3600)

app(["wait"])
"""


@pytest.fixture
def folder(open_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for data, and a temporary folder that other users may enter too."""
    made, temporary = open_folder(), open_folder()
    temporary.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return made


def _wait_until(met: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not met():
        assert time.monotonic() < until
        time.sleep(0.05)


def _started(code: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("name", ["short", LONG, "with space", "100%&,"])
def test_no_other_user_reaches_the_server(folder: Path, name: str) -> None:
    """However long or odd its path is, another user of the machine cannot connect; we can."""
    (folder / name).mkdir()
    server = embedded.start(folder / name / "postgres")
    try:
        with psycopg.connect(server.get_uri()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            sockets = connection.info.host
        command = ["-h", sockets, "-U", "postgres", "-Atc", "SELECT 1"]
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        psql = str(server.bin_path / "psql")
        reached = subprocess.run(
            [*nobody, psql, *command], capture_output=True, text=True, check=False, cwd="/"
        )
    finally:
        server.cleanup()
    assert "Permission denied" in reached.stderr
    assert reached.stdout == ""


def test_a_socket_that_others_could_reach_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the folder for the socket is open to others, the server does not start, and one sentence
    says what to do."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(folder / LONG))
    (folder / LONG).mkdir()
    server = embedded.start(folder / LONG / "postgres")
    sockets = Path(server.get_postmaster_info().socket_dir)
    server.cleanup()
    sockets.chmod(0o777)
    with pytest.raises(DatabaseError, match=r"other users may enter it: stop what uses it"):
        database_dsn(Settings())
    assert not (folder / LONG / "postgres/postmaster.pid").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_server_stops_with_its_last_user(folder: Path, number: signal.Signals) -> None:
    """Whatever ends the processes that use it; while one is left, it runs."""
    cluster = folder / "postgres"
    first, second = (_started(USE, str(cluster)) for _ in range(2))
    address = f"host={cluster} user=postgres"
    first.send_signal(number)
    first.wait(300)
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    second.send_signal(number)
    second.wait(300)
    _wait_until(lambda: not (cluster / "postmaster.pid").exists())


def test_the_server_starts_again_right_after_its_last_user_was_killed(folder: Path) -> None:
    """A process that begins to use the server while it is being stopped has a running one."""
    cluster = folder / "postgres"
    for _ in range(3):
        process = _started(USE, str(cluster))
        process.kill()
        process.wait(300)
        server = embedded.start(cluster)
        with psycopg.connect(server.get_uri()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server.cleanup()
        assert not (cluster / "postmaster.pid").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_command_ends_as_usual(folder: Path, number: signal.Signals) -> None:
    """Its status is 128 plus the signal's number, and the server has stopped before it ends."""
    process = _started(COMMAND, CLIP_ASSETS_HOME=str(folder))
    process.send_signal(number)
    assert process.wait(300) == 128 + number
    assert not (folder / "postgres/postmaster.pid").exists()


def test_a_server_that_died_starts_again(folder: Path) -> None:
    """Whoever asks for its address next starts it, at the same address."""
    server = embedded.start(folder / "postgres")
    before = server.get_uri()
    os.kill(server.get_pid(), signal.SIGKILL)
    _wait_until(lambda: embedded.dead() == [folder / "postgres"])
    try:
        assert embedded.start(folder / "postgres").get_uri() == before
        assert embedded.dead() == []
        with psycopg.connect(before) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.cleanup()
    assert embedded.dead() == []
