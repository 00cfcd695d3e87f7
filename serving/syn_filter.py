"""Stops new connections to a port before the port closes.

Closing a listening socket resets the connections that the kernel has opened but the program has not
accepted yet, although their clients may already have sent a request. So new connections are
prevented first, and the port closes once the others are accepted.
"""

import ctypes
import socket
import struct
from contextlib import suppress

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python does not name it
_FLAGS = 13  # the offset of its flags in a TCP header (RFC 9293, 3.1)
_SYN = 0x02
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter in linux/filter.h
_FILTER = b"".join(
    _INSTRUCTION.pack(*instruction)
    for instruction in (
        (0x30, 0, 0, _FLAGS),  # load that byte
        (0x45, 0, 1, _SYN),  # unless it has the bit, skip one
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
    )
)


def drop_new_connections(listening: socket.socket) -> None:
    """Make the kernel drop new connection requests (SYN). A client retries after a second; by then
    the port is closed and refuses it.

    Does nothing on systems without such filters; then a few connections may be reset.
    """
    program = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    count = len(_FILTER) // _INSTRUCTION.size
    with suppress(OSError):
        listening.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", count, ctypes.addressof(program)),
        )
