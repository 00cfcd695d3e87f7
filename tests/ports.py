"""Ports that stay free between the moment they are chosen and the moment they are used."""

import os
import socket


def free_port() -> int:
    """A loopback port below those that the system gives to outgoing connections by itself."""
    first = 10_000 + os.getpid() % 20_000
    for port in range(first, first + 2_000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise OSError("no free port")
