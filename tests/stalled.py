"""A mount whose file system never answers, as of a server that is gone."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DETACHED = 2  # MNT_DETACH of umount2


@contextmanager
def stalled_mount(at: Path) -> Iterator[Path]:
    """A FUSE mount at the folder `at`, which is made: what is asked of it waits until the end.

    The kernel then answers all that waits with an error, so no thread outlives the test.
    """
    at.mkdir(parents=True)
    if os.getuid() or not Path("/dev/fuse").exists():
        pytest.skip("only root can mount a file system, and it needs /dev/fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    try:
        if libc.mount(b"stalled", bytes(at), b"fuse.stalled", 0, options):
            pytest.skip(f"this machine does not let root mount: {os.strerror(ctypes.get_errno())}")
        try:
            yield at
        finally:
            libc.umount2(bytes(at), _DETACHED)
    finally:
        os.close(device)
