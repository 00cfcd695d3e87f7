"""Stands in for `python`: what it is asked to run becomes a process of `server.py`.

It passes on the signals that it gets, and ends as that process ends. It imports little, to start
at once, and leaves to the real interpreter what the server cannot do.
"""

import array
import json
import os
import signal
import socket
import sys

FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def main(path: str, python: str) -> None:
    """The server listens at `path`; `python` is the real interpreter."""
    executable, *arguments = sys.argv
    files = _open_files()
    server = socket.socket(socket.AF_UNIX)
    if arguments[:1] == ["-B"]:  # the server writes no byte code beside the sources either
        del arguments[0]
    if not _can_run(arguments) or server.connect_ex(path) != 0:
        server.close()
        os.execv(python, [python, *arguments])
    _ask(server, executable, arguments, files)
    for name in FORWARDED:
        signal.signal(getattr(signal, name), lambda number, _: server.send(bytes([number])))
    for file in files:  # else a reader would wait for this process too
        os.close(file)
    _end(int.from_bytes(server.recv(4), "little", signed=True))


def _can_run(arguments: list[str]) -> bool:
    """Not an interactive session, and no other option of the interpreter."""
    return bool(arguments) and (arguments[0] in ("-m", "-c") or not arguments[0].startswith("-"))


def _open_files() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # pathlib takes long to import
        try:
            os.fstat(int(name))
        except OSError:  # the listing itself
            continue
        found.append(int(name))
    return found


def _ask(server: socket.socket, executable: str, arguments: list[str], files: list[int]) -> None:
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "executable": executable,
        "files": files,
    }
    body = json.dumps(request).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
    server.sendmsg([len(body).to_bytes(4, "little")], [rights])
    server.sendall(body)


def _end(code: int) -> None:
    if code >= 0:
        os._exit(code)
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
