"""A deadline closes the socket of exactly the call it belongs to."""

import socket

import psycopg
import pytest

from serving.database import Lease


class Wire:
    """The part of a connection that a lease uses: its socket."""

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


def test_cutting_closes_the_held_connection() -> None:
    """The peer sees the connection closed at once."""
    lease, wire = Lease(), Wire()
    lease.hold(wire)  # type: ignore[arg-type]
    lease.cut()
    assert wire.is_cut()


def test_cutting_after_the_lease_ended_does_nothing() -> None:
    """A deadline that fires too late does not affect the next user of the connection."""
    lease, wire = Lease(), Wire()
    lease.hold(wire)  # type: ignore[arg-type]
    lease.end()
    lease.cut()
    assert not wire.is_cut()


def test_no_connection_can_be_held_after_the_cut() -> None:
    """A call whose deadline has passed gets no further connection."""
    lease = Lease()
    lease.cut()
    with pytest.raises(psycopg.OperationalError):
        lease.hold(Wire())  # type: ignore[arg-type]
