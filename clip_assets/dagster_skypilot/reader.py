"""Reads the Pipes messages that a job wrote to a bucket or folder, on each `poll`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster_pipes import PipesParams

from .messages import LOCATION, MessageStore


class PipesObjectStoreMessageReader(dg.PipesMessageReader):
    """Reads new messages on each `poll`, in the caller's thread; a new reader starts at the first.

    Unlike Dagster's blob store readers it keeps no counter that could be lost, and it does not
    stop when the first attempt closes: a recovered job sends more messages.

    Args:
        store: where the job writes.
        prefix: folder of this job's messages in the store.
    """

    def __init__(self, store: MessageStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._seen: set[str] = set()
        self._handler: dg.PipesMessageHandler | None = None

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        yield {LOCATION: {"uri": self._store.uri(""), "prefix": self._prefix}}

    def poll(self) -> None:
        """Handle the messages that arrived since the last call, in order."""
        assert self._handler is not None, "polled within a session"
        listed = {entry.path for entry in self._store.list(self._prefix)}
        for path in sorted(listed - self._seen):
            self._handler.handle_message(json.loads(self._store.get(path)))
            self._seen.add(path)

    def no_messages_debug_text(self) -> str:
        return f"No messages found below {self._store.uri(self._prefix)}."
