"""Serves an image as it is in the source, if the operator allows it.

The address is the catalog's, never one from a client. The bytes must have the hash that was
embedded, so a client gets exactly the image it found, or nothing. Images inside a tar or a parquet
file are located by their row in the catalog, so the service must be able to read the data folder.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from clip_assets import original
from clip_assets.errors import ClipAssetsError
from clip_assets.search.search import Origin
from clip_assets.settings import Settings
from clip_assets.store.address import is_remote
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

from .bulkhead import Bulkhead, Deadline
from .errors import NotFound, Unavailable
from .settings import ServingSettings

THREADS = 4
WAITING = 16
SHOWN = {"JPEG", "PNG", "WEBP", "GIF", "AVIF"}
"""Formats that browsers can show; all others are downloaded."""


@dataclass(frozen=True)
class Original:
    """The bytes of an image's file, and the media type to send them with."""

    data: bytes
    media_type: str | None


class Originals:
    """Reads images from their source, in its own bulkhead."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._bulkhead = Bulkhead("originals", THREADS, WAITING)

    async def read(self, origin: Origin, collection: str, deadline: Deadline) -> Original:
        """The image. Raises NotFound if the operator does not allow it or it no longer exists."""
        if not self._settings.gives(origin.uri):
            raise NotFound("This service does not serve the images of this source.")
        return await self._bulkhead.run(lambda: self._read(origin, collection), deadline)

    def _read(self, origin: Origin, collection: str) -> Original:
        if not is_remote(origin.uri) and not self._settings.gives(str(Path(origin.uri).resolve())):
            raise NotFound("This image is a link to a place that this service does not serve.")
        try:
            data = self._bytes(origin, collection)
        except ClipAssetsError as error:
            raise Unavailable("The source of this image cannot be reached.") from error
        except OSError as error:
            raise NotFound("The source has no such file, or it is too large to serve.") from error
        if len(data) > self._settings.original_bytes:
            raise NotFound("This image is too large to serve.")
        if hashlib.sha256(data).hexdigest() != origin.sha256:
            raise NotFound("The file in the source is no longer the image that was indexed.")
        return Original(data, _media_type(data))

    def _bytes(self, origin: Origin, collection: str) -> bytes:
        if original.is_inside(origin.uri):
            at = ShardVersion(origin.shard, origin.version, origin.digest)
            data = Objects(Settings().collection_uri(collection))
            return original.read(data, collection, at, origin.image_id)
        root, _, name = origin.uri.rpartition("/")
        return Objects(root).get(name, limit=self._settings.original_bytes)

    def close(self) -> None:
        self._bulkhead.close()


def _media_type(data: bytes) -> str | None:
    try:
        kind = Image.open(io.BytesIO(data)).format
    except Exception:  # Pillow raises many classes; the file is then sent without a media type
        return None
    return Image.MIME[kind] if kind in SHOWN else None
