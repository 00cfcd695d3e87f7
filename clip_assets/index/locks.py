"""Moves that must not make anybody wait: of a release's pointer, and of tables others read."""

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
    """`move` in one transaction; whoever moves or drops releases of a collection takes turns.

    Waits half a second at most for any lock and comes back later, `seconds` long, then raises
    ReleaseError: a view that waits to be replaced makes everybody wait who comes to read it.
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
                    f"{collection} stays as it was: queries or loads held what the move needs, "
                    f"for {seconds:.0f} s. pg_stat_activity names them; try again without them."
                ) from error
        time.sleep(_BETWEEN_SECONDS)
