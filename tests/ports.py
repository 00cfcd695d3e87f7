"""Ports that stay free between the moment they are chosen and the moment they are used."""

import os
import socket

_GIVEN: set[int] = set()


def free_port() -> int:
    """A loopback port below those that the system gives to outgoing connections by itself.

    No port twice, and processes that were started together look a hundred ports apart: what is
    chosen now may be used only seconds later.
    """
    first = 10_000 + os.getpid() % 200 * 100
    for port in range(first, first + 2_000):
        if port in _GIVEN:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        _GIVEN.add(port)
        return port
    raise OSError("no free port")
