"""Keeps permanent objects out of garbage collections.

A model, its libraries and the routes are half a million objects. A full collection visits all of
them, which blocks the service for 280 ms and frees none of them.
"""

import gc


def settle(*, again: bool) -> None:
    """Call this once everything permanent is loaded. `again` also collects what an earlier call
    froze and may now be garbage; this writes to all of it, so a forked worker must not use it,
    because its memory would no longer be shared."""
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def unsettle() -> None:
    """Undo `settle`, for a process that continues after its service has ended."""
    gc.unfreeze()
