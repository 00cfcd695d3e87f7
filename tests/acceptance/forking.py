"""Programs as forks of the tests' own process, which has imported torch and all else they need.

A new Python spends six CPU-seconds on that. The server is forked once the tests are collected,
when that process has no thread or connection yet which a fork could break.
"""

import faulthandler
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from setproctitle import setproctitle

ADDRESS = "FORKING_SERVER"
"""Name of the environment variable with the path of the server's socket."""

_NUMBER = struct.Struct("i")


class Forked:
    """What `subprocess.Popen` is to LocalEmbedClient, for `python -m MODULE …`.

    `stderr` reads what it says there, and with `merged` what it prints too.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | str = ".",
        *,
        merged: bool = False,
        **_: Any,
    ) -> None:
        _python, _m, *argv = command
        readable, writable = os.pipe()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(os.environ[ADDRESS])
        socket.send_fds(self._server, [b"\n"], [writable if merged else 1, writable])
        folder = str(Path(cwd).absolute())
        self._server.sendall(json.dumps([argv, dict(env), folder]).encode())
        self._server.shutdown(socket.SHUT_WR)
        os.close(writable)
        self.stderr = os.fdopen(readable)
        (self.pid,) = _NUMBER.unpack(self._server.recv(_NUMBER.size))
        self.returncode: int | None = None
        self._reading = Lock()  # a command stops its jobs while the thread of the run waits

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.stderr.close()
        self.wait()

    def poll(self, seconds: float | None = 0) -> int | None:
        if self.returncode is None and select.select([self._server], [], [], seconds)[0]:
            with self._reading:
                if self.returncode is None:
                    (self.returncode,) = _NUMBER.unpack(self._server.recv(_NUMBER.size))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        status = self.poll(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def run(*argv: str, env: Mapping[str, str], cwd: Path | str = ".") -> tuple[int, str]:
    """The status of `python -m MODULE …` and all that it printed, in the order it did."""
    with Forked([sys.executable, "-m", *argv], env, cwd, merged=True) as process:
        said = process.stderr.read()
        return process.wait(), said


def start_server() -> None:
    """Fork the server, which ends with this process, and tell all that is started its address."""
    folder = Path(tempfile.mkdtemp())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    end, _kept_open = os.pipe()
    os.environ[ADDRESS] = str(folder / "socket")
    if os.fork():
        os.close(end)
        listener.close()
        return
    os.close(_kept_open)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # the pipes of pytest-xdist, which waits for their end
        os.dup2(null, number)
    _close_all_but(0, 1, 2, end, listener.fileno())
    # What is open in old objects is closed already; were they collected, they would close others.
    gc.freeze()
    import_module("clip_assets.node.encoder")  # if no test has
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while end not in select.select([listener, end], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            _serve(connection)
        connection.close()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _serve(connection: socket.socket) -> NoReturn:
    """Fork the program, and tell its number and, once it has ended, its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    given = b"".join(iter(lambda: connection.recv(65536), b""))
    child = os.fork()
    if not child:
        _become(*json.loads(given), *streams)
    connection.sendall(_NUMBER.pack(child))
    for stream in streams:
        os.close(stream)
    _, status = os.waitpid(child, 0)
    with suppress(OSError):  # who asked may be gone
        connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(
    argv: list[str], env: dict[str, str], folder: str, stdout: int, stderr: int
) -> NoReturn:
    os.setsid()
    os.chdir(folder)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    _close_all_but(0, 1, 2)
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    setproctitle(" ".join([sys.executable, "-m", *argv]))  # into the room of the old environment
    os.environ.clear()
    os.environ.update(env)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1),
    )  # fmt: skip
    warnings.simplefilter("ignore", RuntimeWarning)  # the module is imported already
    # The command line reads the width of the terminal when it is imported.
    for name in [name for name in sys.modules if name.startswith("clip_assets.cli")]:
        del sys.modules[name]
    sys.argv = argv
    status = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _close_all_but(*kept: int) -> None:
    for number in {int(path.name) for path in Path("/dev/fd").iterdir()} - {*kept}:
        with suppress(OSError):  # the one that listed the folder
            os.close(number)
