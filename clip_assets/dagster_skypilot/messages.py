"""Pipes messages as objects in a bucket or folder. A job imports this module to send them.

It needs `dagster_pipes` and `obstore`, neither Dagster nor SkyPilot. Objects outlive log streams,
the run's worker and the job's machine; a recovered job appends to what its first attempt wrote.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Protocol

from dagster_pipes import (
    PipesDefaultMessageWriter,
    PipesMessage,
    PipesMessageWriter,
    PipesMessageWriterChannel,
    PipesParams,
)

LOCATION = "dagster_skypilot"
"""Pipes parameter that asks for messages in a store; its value is their `uri` and `prefix`."""


class Listed(Protocol):
    """An object of a listing; `path` is below the root of its store."""

    @property
    def path(self) -> str: ...


class MessageStore(Protocol):
    """The objects below one URI: what messages need of a bucket or folder."""

    def uri(self, path: str) -> str:
        """Absolute URI of the object."""
        ...

    def list(self, prefix: str) -> Iterable[Listed]:
        """The objects below the folder `prefix`, in any order; none if it does not exist."""
        ...

    def get(self, path: str) -> bytes: ...

    def create(self, path: str, data: bytes) -> bool:
        """Create the object atomically; returns False if it already exists."""
        ...


def open_store(where: "MessageStore | str") -> MessageStore:
    """The store itself, or the one that a URI (`s3://`, `gs://`, `az://`) or folder names."""
    return _Obstore(where) if isinstance(where, str) else where


class PipesObjectStoreMessageWriter(PipesMessageWriter[PipesMessageWriterChannel]):
    """Writes one object per message, below the URI that the client chose.

    Under another Pipes client, which names no store, it writes like Pipes' default writer, so the
    same program also runs as a local process.

    Args:
        store: where to write, if the job does not reach it by its URI.
    """

    def __init__(self, store: MessageStore | None = None) -> None:
        self._store = store

    @contextmanager
    def open(self, params: PipesParams) -> Iterator[PipesMessageWriterChannel]:
        if LOCATION in params:
            location = params[LOCATION]
            store = self._store or open_store(location["uri"])
            yield _StoreChannel(store, location["prefix"])
        else:
            with PipesDefaultMessageWriter().open(params) as channel:
                yield channel


class _StoreChannel(PipesMessageWriterChannel):
    """Two machines may write at once, because a preempted one can keep running for a while."""

    def __init__(self, store: MessageStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._numbers = count(len(list(store.list(prefix))))

    def write_message(self, message: PipesMessage) -> None:
        data = json.dumps(message).encode()
        while not self._store.create(f"{self._prefix}/{next(self._numbers):08d}.json", data):
            pass


class _Obstore:
    """A bucket or folder through obstore, with the credentials that obstore finds."""

    def __init__(self, uri: str) -> None:
        from obstore.store import LocalStore, from_url

        self._uri = uri.rstrip("/")
        if "://" in uri:
            self._store = from_url(self._uri)
        else:
            self._store = LocalStore(self._uri, mkdir=True)

    def uri(self, path: str) -> str:
        return f"{self._uri}/{path}".rstrip("/")

    def list(self, prefix: str) -> Iterator[Listed]:
        import obstore

        for batch in obstore.list(self._store, prefix):
            for meta in batch:
                yield _Path(meta["path"])

    def get(self, path: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store, path).bytes())

    def create(self, path: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._store, path, data, mode="create")
        except AlreadyExistsError:
            return False
        return True


class _Path:
    def __init__(self, path: str) -> None:
        self.path = path
