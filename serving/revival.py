"""Starts an embedded Postgres again that ended under the running service."""

import asyncio
import logging
import time

from clip_assets.postgres import embedded
from serving.background import daemon

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0


class Revival:
    """One attempt at a time, with a pause between two of them that doubles up to half a minute."""

    def __init__(self) -> None:
        self._attempt: asyncio.Future[None] | None = None
        self._began = float("-inf")
        self._pause = 0.0

    @property
    def busy(self) -> bool:
        return self._attempt is not None and not self._attempt.done()

    def attend(self) -> str | None:
        """Begin an attempt if a server has ended and it is time; returns what is going on."""
        if self.busy:
            return "the embedded Postgres ended and is being started again"
        failure = self._attempt.exception() if self._attempt else None
        dead = embedded.dead()
        if not dead:
            return None
        since = time.monotonic() - self._began
        if since > 2 * LONGEST_PAUSE:
            self._pause = 0.0
        if since < self._pause:
            return (
                f"the embedded Postgres ended and does not start, see {dead[0] / 'log'}; another "
                f"attempt follows {self._pause:.0f} s after the last one"
            )
        logger.warning("the embedded Postgres ended; starting it again", exc_info=failure)
        self._began = time.monotonic()
        self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE)
        self._attempt = daemon("postgres", _start_again)
        return "the embedded Postgres ended and is being started again"


def _start_again() -> None:
    for folder in embedded.dead():
        embedded.start(folder)
