"""A growing pause between attempts that keep failing."""

import time

LONGEST = 30.0


class Backoff:
    """Doubles from one second to half a minute; resets after a minute without an attempt."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """How long after the last attempt the next one may follow."""
        return self._seconds

    @property
    def over(self) -> bool:
        """Whether another attempt may begin now."""
        return time.monotonic() - self._began >= self._seconds

    def begin(self) -> None:
        """Record that an attempt begins, and lengthen the pause after it."""
        now = time.monotonic()
        if now - self._began > 2 * LONGEST:
            self._seconds = 0.0
        self._began = now
        self._seconds = min(max(1.0, 2 * self._seconds), LONGEST)
