"""A dataset's files: the interface, and its implementation for a local folder."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from clip_assets.source.deadline import Deadline
from clip_assets.source.entries import entries, refuse_missing
from clip_assets.source.ranged import Ranged
from clip_assets.source.reading import readable
from clip_assets.store.entry import Entry
from clip_assets.store.objects import Objects


class Files(Protocol):
    """A dataset's files."""

    def list(self, skipped: Counter[str]) -> Iterator[Entry]:
        """All files; `skipped` counts those that are hidden."""
        ...

    def uri(self, path: str) -> str: ...

    def open(self, entry: Entry) -> IO[bytes] | Ranged:
        """The file, opened for random access."""
        ...

    def fetch(self, path: str) -> tuple[Path, str]:
        """The whole file as a local path, and its version tag ('' if unknown)."""
        ...

    def for_one(self, path: str) -> tuple[Path | Ranged, str]:
        """The file, opened to read one image without fetching all of it, and its version tag."""
        ...


class LocalFiles:
    """A local folder, such as a clone of the dataset."""

    def __init__(self, folder: str, within: Deadline) -> None:
        self._within = within
        self._objects = Objects(folder)
        refuse_missing(self._objects)

    def list(self, skipped: Counter[str]) -> Iterator[Entry]:
        return entries(self._objects, skipped, self._within)

    def uri(self, path: str) -> str:
        return self._objects.uri(path)

    def open(self, entry: Entry) -> IO[bytes]:
        return self._objects.open(entry.path)

    def fetch(self, path: str) -> tuple[Path, str]:
        try:
            return Path(self.uri(path)), self._objects.stat(path).etag
        except OSError as error:
            raise readable(self._objects, error) from error

    def for_one(self, path: str) -> tuple[Path, str]:
        return self.fetch(path)
