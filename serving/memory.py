"""Keeps permanent objects out of garbage collections, and returns the memory of dropped ones.

A model, its libraries and the routes are half a million objects. A full collection visits all of
them, which blocks the service for 280 ms and frees none of them.
"""

import ctypes
import gc
from contextlib import suppress


def freeze(*, again: bool) -> None:
    """Call this once everything permanent is loaded. `again` also collects what an earlier call
    froze and may now be garbage; this writes to all of it, so a forked worker must not use it,
    because its memory would no longer be shared."""
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def trim() -> None:
    """Free what is garbage, and return its memory to the system. It may take a while: call it in a
    thread.

    By itself glibc keeps most of it: of a dropped ViT-B-32 of 700 MB, 500 MB stayed in the process.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another libc than glibc
        ctypes.CDLL(None).malloc_trim(0)


def unfreeze() -> None:
    """Undo `freeze`, for a process that continues after its service has ended."""
    gc.unfreeze()
