"""Erases an image for an administrator, as `clip-assets erase` does, in the background."""

import asyncio
from threading import Lock

from clip_assets.erasure.erase import erase
from clip_assets.errors import ClipAssetsError
from clip_assets.postgres.connect import connect_owner
from clip_assets.settings import Settings
from clip_assets.store import erased
from clip_assets.store.erased import Receipt
from clip_assets.store.objects import Objects

from .background import daemon
from .errors import ReadOnly
from .settings import ServingSettings

_Name = tuple[str, str]

_one_at_a_time = Lock()  # two erasures in a collection would both rewrite its catalog


class Erasing:
    """Erasures that run in this process, each in its own thread.

    If the process ends first, the next call or `clip-assets erase` completes the erasure.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._running: dict[_Name, asyncio.Future[Receipt]] = {}

    def require(self, collection: str) -> None:
        """Raises ReadOnly if this service does not know where the collection's files are."""
        if self._settings.read_only or self._settings.dsn:
            raise ReadOnly(
                "This service can reach only a database, but an erasure also changes the "
                f"collection's files. Run `clip-assets erase {collection}` where both are set up."
            )

    async def begun(self, collection: str, image_id: str) -> bool:
        """Whether this erasure was requested before."""
        if (collection, image_id) in self._running:
            return True
        return await daemon("erasure", lambda: _asked_for(collection, image_id))

    async def receipt(self, collection: str, image_id: str, asked_by: str) -> Receipt | None:
        """The receipt of the image's erasure; None if it takes longer than `erase_seconds`.

        Starts the erasure unless it is running or complete. Raises ReadOnly if this service cannot
        reach everything that an erasure changes.
        """
        name = (collection, image_id)
        if name not in self._running:
            running = daemon("erasure", lambda: _erase(collection, image_id, asked_by))
            running.add_done_callback(lambda _: self._running.pop(name, None))
            self._running[name] = running
        running = self._running[name]
        try:
            await asyncio.wait([running], timeout=self._settings.erase_seconds)
            return running.result() if running.done() else None
        except ClipAssetsError as error:
            raise ReadOnly(f"Not erased here: {error}") from error


def _asked_for(collection: str, image_id: str) -> bool:
    requests = erased.requests(_objects(collection))
    return any(image_id in request.image_ids for request in requests)


def _erase(collection: str, image_id: str, asked_by: str) -> Receipt:
    objects = _objects(collection)
    with _one_at_a_time:
        for receipt in erased.receipts(objects):
            if image_id in receipt.request.image_ids:
                return receipt
        with connect_owner(Settings()) as connection:
            reason = f"requested from the search service with the API key {asked_by}"
            receipts = erase(connection, objects, [image_id], reason, _unheard)
    return next(one for one in receipts if image_id in one.request.image_ids)


def _objects(collection: str) -> Objects:
    return Objects(Settings().collection_uri(collection))


def _unheard(_: str) -> None:
    """Discards progress messages; the receipt has the result."""
