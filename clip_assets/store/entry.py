"""One object, as a listing returns it."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore import ObjectMeta


@dataclass(frozen=True)
class Entry:
    """One listed object: path below the root, size in bytes, version tag of the store.

    `fault` says why the object cannot be read, if the listing already shows it. `modified` is when
    it was written, in seconds since the epoch by the store's clock; 0 if unknown.
    """

    path: str
    size: int
    etag: str
    fault: str | None = None
    modified: float = field(default=0.0, compare=False)


def local_entry(path: str, status: os.stat_result) -> Entry:
    """A local file as `list` returns it; its version tag is its size and modification time."""
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    return Entry(path, status.st_size, etag, modified=status.st_mtime)


def remote_entry(path: str, meta: "ObjectMeta") -> Entry:
    """An object of a bucket as `list` returns it; its version tag is its ETag without quotes."""
    etag = (meta["e_tag"] or "").strip('"')
    return Entry(path, meta["size"], etag, modified=meta["last_modified"].timestamp())
