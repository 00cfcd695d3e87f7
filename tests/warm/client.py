"""Stands in for `python`: what it is asked to run becomes a process of `tests/warm/server.py`.

It passes on the signals that it gets and ends as that process ends. It imports little, to start at
once, and leaves what it cannot ask for to the real interpreter. `python.py` writes its first lines.
"""

import array
import json
import os
import signal
import socket
import sys

FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def main(arguments: list[str]) -> None:
    files = [int(name) for name in os.listdir("/proc/self/fd")]
    files = [number for number in files if _is_open(number)]
    server = socket.socket(socket.AF_UNIX)
    if arguments[:1] == ["-B"]:  # no files of byte code: the server writes none beside the sources
        del arguments[0]
    try:
        if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-m", "-c")):
            raise OSError("options of the interpreter itself")
        server.connect(SOCKET)
    except OSError:
        server.close()
        os.execv(PYTHON, [PYTHON, *arguments])
    body = json.dumps(
        {
            "arguments": arguments,
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "executable": sys.argv[0],
            "files": files,
        }
    ).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    server.sendmsg([len(body).to_bytes(4, "little")], ancillary)
    server.sendall(body)
    for name in FORWARDED:
        signal.signal(getattr(signal, name), lambda number, _: server.send(bytes([number])))
    for file in files:  # else a reader would wait for this process too
        os.close(file)
    code = int.from_bytes(server.recv(4), "little", signed=True)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_open(number: int) -> bool:
    """The listing itself had a file, which is closed by now."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
