"""A deadline cuts the wire of exactly the call that it belongs to."""

import socket

import psycopg
import pytest

from serving.database import Lease


class Wire:
    """As much of a connection as a lease takes hold of."""

    def __init__(self) -> None:
        self.here, self.there = socket.socketpair()

    def fileno(self) -> int:
        return self.here.fileno()

    def is_cut(self) -> bool:
        self.there.settimeout(0.05)
        try:
            return self.there.recv(1) == b""
        except TimeoutError:
            return False


def test_a_held_connection_is_cut() -> None:
    """Cutting ends the wire at once, seen from the other side."""
    lease, wire = Lease(), Wire()
    lease.hold(wire)  # type: ignore[arg-type]
    lease.cut()
    assert wire.is_cut()


def test_a_connection_given_back_is_left_alone() -> None:
    """A deadline that comes too late does not harm the next user of the connection."""
    lease, wire = Lease(), Wire()
    lease.hold(wire)  # type: ignore[arg-type]
    lease.end()
    lease.cut()
    assert not wire.is_cut()


def test_nothing_more_can_be_held_after_the_cut() -> None:
    """A call whose time is over gets no further connection."""
    lease = Lease()
    lease.cut()
    with pytest.raises(psycopg.OperationalError):
        lease.hold(Wire())  # type: ignore[arg-type]
