"""Restarts an embedded Postgres that ended while the service is running."""

import asyncio
import logging

from clip_assets.postgres import embedded

from .background import daemon
from .backoff import Backoff

logger = logging.getLogger(__name__)


class PostgresRestart:
    """Makes one attempt at a time, with a growing pause between attempts."""

    def __init__(self) -> None:
        self._attempt: asyncio.Future[None] | None = None
        self._backoff = Backoff()

    @property
    def busy(self) -> bool:
        return self._attempt is not None and not self._attempt.done()

    def poll(self) -> str | None:
        """Begin an attempt if a server has ended and the pause is over; returns the state."""
        if self.busy:
            return "the embedded Postgres ended and is being started again"
        failure = self._attempt.exception() if self._attempt else None
        dead = embedded.dead()
        if not dead:
            return None
        if not self._backoff.over:
            return (
                f"the embedded Postgres ended and does not start, see {dead[0] / 'log'}; another "
                f"attempt follows {self._backoff.seconds:.0f} s after the last one"
            )
        logger.warning("the embedded Postgres ended; starting it again", exc_info=failure)
        self._backoff.begin()
        self._attempt = daemon("postgres", _start_again)
        return "the embedded Postgres ended and is being started again"


def _start_again() -> None:
    for folder in embedded.dead():
        embedded.start(folder)
