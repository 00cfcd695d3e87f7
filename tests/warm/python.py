"""The warm interpreter of a test session, started by whoever needs it first."""

import fcntl
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[2]
_EXECUTABLE = """#!{python} -IS
import sys

sys.path.insert(0, {project!r})
from tests.warm.client import main

main({path!r}, {python!r})
"""
_START_SECONDS = 300


@contextmanager
def warm_python(shared: Path) -> Iterator[str]:
    """Path of an executable that runs programs as `sys.executable` does, and starts at once.

    All who give the same folder share one server, which lives as long as one of them. Elsewhere
    than on Linux the path is `sys.executable` itself.
    """
    if sys.platform != "linux":
        yield sys.executable
        return
    with (shared / "warm.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        place = lock.read()
        if not place:
            place = _start()
            lock.write(place)
    with _connected(Path(place)):
        yield f"{place}/python"


def _start() -> str:
    """Folder of a server that is just starting, with the executable beside its socket."""
    place = Path(tempfile.mkdtemp(prefix="warm-"))
    path, python = str(place / "socket"), place / "python"
    python.write_text(_EXECUTABLE.format(python=sys.executable, project=str(PROJECT), path=path))
    python.chmod(0o755)
    command = [sys.executable, "-m", "tests.warm.server", path]
    with (place / "log").open("wb") as log:
        subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    return str(place)


def _connected(place: Path) -> socket.socket:
    """A connection that asks for nothing, once the server has imported everything."""
    keeper = socket.socket(socket.AF_UNIX)
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            keeper.connect(str(place / "socket"))
        except OSError:
            assert time.monotonic() < until, (place / "log").read_text()
            time.sleep(0.05)
        else:
            keeper.sendall(bytes(4))
            return keeper
