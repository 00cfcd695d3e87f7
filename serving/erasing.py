"""Erases an image for an administrator, as `clip-assets erase` does, beside the requests."""

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

_one_at_a_time = Lock()  # two of one collection would both rewrite its catalog


class Erasing:
    """Erasures that run in this process, each in a thread of its own.

    One that this process does not finish is completed by the next call, or by `clip-assets erase`.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._running: dict[_Name, asyncio.Future[Receipt]] = {}

    def require(self, collection: str) -> None:
        """Raises ReadOnly if this service was not told where the collection's files are."""
        if self._settings.read_only or self._settings.dsn:
            raise ReadOnly(
                "This service knows only a database, but an erasure also changes the collection's "
                f"files. Run `clip-assets erase {collection}` where both are known."
            )

    async def begun(self, collection: str, image_id: str) -> bool:
        """Whether somebody asked for this erasure already."""
        if (collection, image_id) in self._running:
            return True
        return await daemon("erasure", lambda: _asked_for(collection, image_id))

    async def receipt(self, collection: str, image_id: str, asked_by: str) -> Receipt | None:
        """The receipt of the image's erasure, which this call begins unless it runs or is done;
        None if it takes longer than `erase_seconds`.

        Raises ReadOnly if this service cannot reach all that an erasure changes.
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
            reason = f"asked of the search service with the API key {asked_by}"
            receipts = erase(connection, objects, [image_id], reason, _unheard)
    return next(one for one in receipts if image_id in one.request.image_ids)


def _objects(collection: str) -> Objects:
    return Objects(Settings().collection_uri(collection))


def _unheard(_: str) -> None:
    """The receipt says all."""
