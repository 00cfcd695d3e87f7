"""A Python that has imported SkyPilot, and forks for each program: python -u warm.py SOCKET.

SkyPilot asks a node about its jobs by starting Python there, more than ten times for one job, and
to import `sky` takes more than two CPU seconds. `node_python` asks.
"""

import gc
import marshal
import os
import runpy
import select
import signal
import socket
import sys
import types
from pathlib import Path


def serve(path: str) -> socket.socket:
    """Listens, and returns in a process of its own for each that asks."""
    Path(path).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    import sky.skylet.job_lib  # noqa: F401  (who asks in the meantime waits)

    gc.freeze()  # a fork that ends would go through all of it otherwise
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return connection
        connection.close()


def program(connection: socket.socket) -> tuple[list[str], dict[str, str], str]:
    """Returns what to run, in the process that is to run it; ends when whoever asks ends."""
    header, files, _, _ = socket.recv_fds(connection, 8, 3)
    request = connection.makefile("rb").read(int.from_bytes(header, "big"))
    worker = os.fork()
    if worker == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return marshal.loads(request)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(worker)
    ready, _, _ = select.select([connection, ended], [], [])
    if ended not in ready:
        os.kill(worker, signal.SIGTERM)
    _, status = os.waitpid(worker, 0)
    try:
        connection.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))
    finally:
        os._exit(0)


def run(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    kind, what, *rest = arguments
    sys.argv = [kind, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(main))


run(*program(serve(sys.argv[1])))
