"""Locks between processes, which the kernel releases however a process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file during the block, within and between processes."""
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Use:
    """One use of something shared, such as a server; it ends with its process at the latest.

    `keeper.py` waits for the last of them.
    """

    def __init__(self, file: Path) -> None:
        """Begin the use. Waits while somebody holds it exclusively to end it."""
        self._file = file
        self._process = os.getpid()
        self._descriptor = _open(file)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    @property
    def inherited(self) -> bool:
        """Whether it is the use of the process that this one was forked from."""
        return self._process != os.getpid()

    def alone(self) -> bool:
        """Whether this is the last use; if so, no other begins until it is over."""
        with suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def end(self) -> None:
        """End it. If somebody then has it alone, wait for them."""
        os.close(self._descriptor)
        descriptor = _open(self._file)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.close(descriptor)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
