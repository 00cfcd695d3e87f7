"""Change the live release, or drop tables, without blocking other sessions for long."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable

from clip_assets.errors import ReleaseError
from clip_assets.index.statements import statement

LOCK_TIMEOUT = "500ms"
_BETWEEN_SECONDS = 0.5

T = TypeVar("T")


def patiently(
    connection: psycopg.Connection, collection: str, move: Callable[[], T], seconds: float
) -> T:
    """Run `move` in one transaction; only one runs per collection at a time.

    Waits at most half a second for a lock, because a pending lock on a view blocks every new
    reader. Retries for `seconds`, then raises ReleaseError.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                connection.execute(statement("lock_release"), {"collection": collection})
                return move()
        except (LockNotAvailable, DeadlockDetected) as error:
            if time.monotonic() > until:
                raise ReleaseError(
                    f"{collection} was not changed: queries or loads held a lock that it needs "
                    f"for {seconds:.0f} s. Find them in pg_stat_activity; try again once they end."
                ) from error
        time.sleep(_BETWEEN_SECONDS)
