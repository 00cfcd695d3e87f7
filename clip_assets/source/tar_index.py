"""Caches the listing of each tar on this machine, so that its headers are read only once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import pyarrow as pa

from clip_assets.errors import StoreError
from clip_assets.settings import Settings
from clip_assets.source import ImageRef
from clip_assets.store import parquet
from clip_assets.store.entry import Entry
from clip_assets.store.objects import Objects

Found = tuple[list[ImageRef], Counter[str]]

_VERSION = "7"
"""Increased when the same tar would be listed differently."""
_SKIPPED = b"clip_assets.skipped"
_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("row", pa.int64()),
        pa.field("caption", pa.string()),
        pa.field("fault", pa.string()),
        pa.field("fields", pa.string()),
    ]
)


class TarIndex:
    """The listings of the tars below one root; listings of deleted tars are removed."""

    def __init__(self, root: str, fields: Collection[str] = ()) -> None:
        identity = "\n".join([root, *sorted(fields)])
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._files = Objects(str(Settings().workplace / "cache" / "tars" / name))
        self._used: set[str] = set()

    def found(self, tar: Entry, look: Callable[[], Found]) -> Found:
        """The result of `look` for this version of the tar, from the cache if it is there."""
        name = _name(tar)
        self._used.add(name)
        known = self._read(name)
        if known is not None:
            return known
        refs, skipped = look()
        # Names that are not UTF-8 cannot be stored; such a tar is read at each listing.
        with suppress(StoreError, UnicodeEncodeError):
            metadata = {_SKIPPED: json.dumps(skipped)}
            table = pa.Table.from_pylist(
                [_row(ref) for ref in refs], schema=_SCHEMA.with_metadata(metadata)
            )
            self._files.put(name, parquet.to_bytes(table))
        return refs, skipped

    def forget_others(self) -> None:
        """Remove entries that were not requested since this index was opened."""
        with suppress(OSError):
            for entry in [*self._files.list()]:
                if entry.path not in self._used:
                    self._files.delete(entry.path)

    def _read(self, name: str) -> Found | None:
        try:
            table = parquet.from_bytes(self._files.get(name), name)
            skipped = Counter(json.loads(table.schema.metadata[_SKIPPED]))
            return [_ref(row) for row in table.to_pylist()], skipped
        except (OSError, StoreError, KeyError, ValueError):
            return None


def _row(ref: ImageRef) -> dict[str, Any]:
    fields = ref.fields and json.dumps(ref.fields)
    return {name: getattr(ref, name) for name in _SCHEMA.names} | {"fields": fields}


def _ref(row: dict[str, Any]) -> ImageRef:
    fields = row.pop("fields")
    return ImageRef(**row, fields=fields and json.loads(fields))


def _name(tar: Entry) -> str:
    text = "\n".join([_VERSION, tar.path, str(tar.size), tar.etag])
    return f"{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()}.parquet"
