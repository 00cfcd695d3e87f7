"""The small texts beside images; in a bucket, each version is fetched only once."""

import hashlib
from contextlib import suppress
from functools import cached_property

import pyarrow as pa

from clip_assets.errors import StoreError
from clip_assets.settings import Settings
from clip_assets.source import caption
from clip_assets.source.tree import Tree
from clip_assets.store import parquet
from clip_assets.store.entry import Entry
from clip_assets.store.objects import Objects

_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
    ]
)


class Texts:
    """The texts below a root. Texts in a bucket are cached on this machine."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._name = f"{hashlib.sha256(tree.root.encode(errors='replace')).hexdigest()}.parquet"
        self._used: dict[str, tuple[str, bytes]] = {}

    def get(self, entry: Entry) -> bytes:
        """The bytes of one text. Raises OSError."""
        if self._tree.folder or not entry.etag:
            return self._tree.get(entry.path, limit=caption.LARGEST)
        known = self._known.get(entry.path)
        if known is None or known[0] != entry.etag:
            known = entry.etag, self._tree.get(entry.path, limit=caption.LARGEST)
        self._used[entry.path] = known
        return known[1]

    def keep(self) -> None:
        """Remove cached texts that were not requested since this was opened."""
        if self._tree.folder or self._used == self._known:
            return
        rows = [
            {"path": path, "etag": etag, "data": data} for path, (etag, data) in self._used.items()
        ]
        with suppress(StoreError, UnicodeEncodeError):
            table = pa.Table.from_pylist(rows, schema=_SCHEMA)
            self._kept.put(self._name, parquet.to_bytes(table))

    @property
    def _kept(self) -> Objects:
        return Objects(str(Settings().workplace / "cache" / "texts"))

    @cached_property
    def _known(self) -> dict[str, tuple[str, bytes]]:
        try:
            rows = parquet.from_bytes(self._kept.get(self._name), self._name).to_pylist()
            return {row["path"]: (row["etag"], row["data"]) for row in rows}
        except (OSError, StoreError, KeyError, ValueError):
            return {}
