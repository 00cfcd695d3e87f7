"""Lists a source in a thread, because Dagster ends a sensor's tick after a minute.

The thread belongs to the code server, which outlives ticks. If the server restarts, the next tick
lists again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from clip_assets import catalog
from clip_assets.source import ImageRef

PATIENCE_SECONDS = 20.0
"""How long a tick waits for the listing: small sources take less, so they need no second tick."""


class Lister:
    """The digest of a source's listing. `open_listing` is called once for each listing."""

    def __init__(
        self, open_listing: Callable[[], Iterable[ImageRef]], patience: float = PATIENCE_SECONDS
    ) -> None:
        self._open, self._patience = open_listing, patience
        self._look: _Look | None = None

    def digest(self) -> str | None:
        """The digest, or None while the source is being listed; then ask again.

        Raises what the listing raised.
        """
        if self._look is None:
            self._look = _Look(self._open)
        self._look.join(self._patience)
        if self._look.is_alive():
            return None
        ended, self._look = self._look, None
        if ended.error:
            raise ended.error
        return ended.digest

    @property
    def progress(self) -> str:
        """The progress of the current listing."""
        if self._look is None:
            return "No listing is in progress."
        since = f"{self._look.began:%H:%M} UTC"
        return f"Listing the source since {since}: {self._look.count} images so far."


class _Look(threading.Thread):
    """One listing. A daemon thread, because the process may end without waiting for it."""

    def __init__(self, open_listing: Callable[[], Iterable[ImageRef]]) -> None:
        super().__init__(name="list the source", daemon=True)
        self._open = open_listing
        self.began, self.count = datetime.now(UTC), 0
        self.digest: str | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.digest = catalog.listing_digest(self._counted())
        except Exception as error:
            self.error = error

    def _counted(self) -> Iterator[ImageRef]:
        for ref in self._open():
            self.count += 1
            yield ref
