"""A Python that has imported what takes seconds to import, and forks for everyone who calls it.

    python -m tests.warm.server SOCKET

What `client.py` is asked to run becomes a process of its own, with the caller's arguments,
environment, folder and open files. Only packages of others are imported beforehand: ours are
imported afresh each time, as a new interpreter imports them. The server ends when its last caller
is gone.
"""

import array
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from tests.warm import process
from tests.warm.process import Request

PACKAGES = [
    "dagster",
    "dagster._cli",
    "dagster._cli.dev",
    "dagster._core.executor.in_process",
    "dagster._core.workspace.context",
    "dagster._daemon.cli",
    "dagster._grpc.proxy_server",
    "dagster._grpc.server",
    "dagster_dg_cli.cli",
    "dagster_graphql",
    "dagster_pipes",
    "dagster_postgres",
    "dagster_webserver.app",
    "dagster_webserver.cli",
    "fastapi",
    "httpx",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "obstore",
    "open_clip",
    "pandas",
    "pgvector.psycopg",
    "PIL.Image",
    "psycopg_pool",
    "pyarrow.parquet",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "torch",
    "typer",
    "uvicorn",
]


def main() -> None:
    place = Path(sys.argv[1]).parent
    for package in ["tests.warm.intervals", *PACKAGES]:
        importlib.import_module(package)
    sys.pycache_prefix, sys.dont_write_bytecode = str(place / "pycache"), False
    gc.collect()
    gc.freeze()  # else the collector's marks would copy every page into every child
    request = Server(sys.argv[1]).serve()
    if request is None:
        shutil.rmtree(place)
    else:
        process.run(request)


class Server:
    """Its callers, and the processes that it became for them."""

    def __init__(self, path: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen(100)
        self.selector.register(self.listening, selectors.EVENT_READ, self._call)
        self.callers = 0

    def serve(self) -> Request | None:
        """Until the last caller is gone; in a forked process, what that one is to run."""
        while True:
            for key, _ in self.selector.select():
                request: Request | None = key.data()
                if request:
                    return request
            if not self.callers:
                return None

    def _call(self) -> Request | None:
        caller, _ = self.listening.accept()
        self.callers += 1
        request = _received(caller)
        if request is None:  # of one who only keeps the server alive
            self.selector.register(caller, selectors.EVENT_READ, lambda: self._hang_up(caller))
            return None
        pid = os.fork()
        if pid == 0:
            self._forget()
            caller.detach()
            return request
        for file in request.received:
            os.close(file)
        end = os.pidfd_open(pid)
        self.selector.register(caller, selectors.EVENT_READ, lambda: self._pass_on(caller, pid))
        self.selector.register(end, selectors.EVENT_READ, lambda: self._end(caller, pid, end))
        return None

    def _pass_on(self, caller: socket.socket, pid: int) -> None:
        """Signals; a caller that is gone was killed, and so is what it called."""
        signals = caller.recv(64)
        for number in signals or [signal.SIGKILL]:
            os.kill(pid, number)
        if not signals:
            self.selector.unregister(caller)
            caller.close()

    def _end(self, caller: socket.socket, pid: int, end: int) -> None:
        _, status = os.waitpid(pid, 0)
        self.selector.unregister(end)
        os.close(end)
        code = os.waitstatus_to_exitcode(status)
        if caller.fileno() == -1:
            self.callers -= 1
            return
        with suppress(OSError):
            caller.sendall(code.to_bytes(4, "little", signed=True))
        self._hang_up(caller)

    def _hang_up(self, caller: socket.socket) -> None:
        self.selector.unregister(caller)
        caller.close()
        self.callers -= 1

    def _forget(self) -> None:
        """Leave nothing that would close a file by its number, which the process will use anew."""
        for key in self.selector.get_map().values():
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.detach()
        self.selector.close()


def _received(caller: socket.socket) -> Request | None:
    files = array.array("i")
    head, ancillary, _, _ = caller.recvmsg(4, socket.CMSG_SPACE(250 * files.itemsize))
    for _, _, data in ancillary:
        files.frombytes(data)
    size = int.from_bytes(head, "little")
    body = b""
    while len(body) < size and (piece := caller.recv(size - len(body))):
        body += piece
    return Request(**json.loads(body), received=list(files)) if body else None


if __name__ == "__main__":
    main()
