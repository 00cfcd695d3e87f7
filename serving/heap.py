"""Keeps what stays in memory out of garbage collections.

A model, its libraries and the routes are half a million objects. A full collection looks at each of
them, which takes 280 ms in which nothing is answered; of what stays, it finds nothing to free.
"""

import gc


def settle(*, again: bool) -> None:
    """Call it when all that stays is loaded; `again` if something before it was settled, too, and
    may be garbage now. That reads and writes all of it: a forked worker must not, since the memory
    would no longer be shared."""
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def unsettle() -> None:
    """For a process that goes on after its service has ended."""
    gc.unfreeze()
