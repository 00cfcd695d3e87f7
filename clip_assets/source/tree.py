"""The files below an address: of a folder, a bucket, or a dataset on the Hugging Face hub."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Protocol

from clip_assets.errors import SourceError
from clip_assets.source.deadline import Deadline
from clip_assets.source.hub_address import hub_address
from clip_assets.store.entry import Entry
from clip_assets.store.local_files import refuse_larger
from clip_assets.store.objects import Objects


class Tree(Protocol):
    """The part of `Objects` that a source needs."""

    @property
    def root(self) -> str: ...

    @property
    def folder(self) -> Path | None: ...

    def uri(self, path: str) -> str: ...

    def list(self) -> Iterator[Entry]: ...

    def get(self, path: str, limit: int | None = None) -> bytes: ...

    def get_range(self, path: str, offset: int, size: int) -> bytes: ...

    def stat(self, path: str) -> Entry: ...

    def open(self, path: str) -> IO[bytes]: ...

    def on_disk(self, path: str) -> AbstractContextManager[Path]: ...

    def answers(self) -> bool: ...


def open_tree(uri: str) -> Tree:
    """The files at an address. Raises SourceError or StoreError if the address is invalid."""
    return HubTree(uri) if uri.startswith("hf://") else Objects(uri)


def deadline(uri: str, seconds: float) -> Deadline:
    """The deadline of each step of listing what is at the address."""
    return Deadline(None if uri.startswith("hf://") else seconds)


class HubTree:
    """The files of a dataset on the hub, below `hf://datasets/org/name[@revision][/folder]`.

    Raises SourceError if the hub cannot be reached or refuses, FileNotFoundError for a missing
    file.
    """

    folder = None

    def __init__(self, uri: str) -> None:
        from clip_assets.source.hub import HubFiles  # takes half a second to import

        dataset, revision, below = hub_address(uri)
        self.root = uri.rstrip("/")
        self._below = f"{below}/" if below else ""
        self._files = HubFiles(dataset, revision)

    def uri(self, path: str) -> str:
        return f"{self.root}/{path}"

    def list(self) -> Iterator[Entry]:
        self.__dict__.pop("_entries", None)  # a source may be listed more than once
        yield from self._entries.values()

    def get(self, path: str, limit: int | None = None) -> bytes:
        entry = self.stat(path)
        refuse_larger(entry.size, limit)
        return self.get_range(path, 0, entry.size) if entry.size else b""

    def get_range(self, path: str, offset: int, size: int) -> bytes:
        return self._files.range(self._below + path, offset, size)

    def stat(self, path: str) -> Entry:
        try:
            return self._entries[path]
        except KeyError:
            raise FileNotFoundError("no such file") from None

    def open(self, path: str) -> IO[bytes]:
        return self._files.fetch(self._below + path)[0].open("rb")

    @contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        yield self._files.fetch(self._below + path)[0]

    def answers(self) -> bool:
        return True  # its errors say so already

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        start = len(self._below)
        found = {
            entry.path[start:]: Entry(entry.path[start:], entry.size, entry.etag)
            for entry in self._files.list(Counter())
            if entry.path.startswith(self._below)
        }
        if not found:
            raise SourceError(f"{self.root} has no files. Check the address.")
        return found
