"""Reads the Pipes messages that the node wrote under the data URI, on each `poll`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import PipesMessageHandler, PipesMessageReader
from dagster_pipes import PipesParams

from clip_assets.node.messages import JOB_ID
from clip_assets.store import paths
from clip_assets.store.objects import Objects


class StoreMessageReader(PipesMessageReader):
    """Reads new messages on each `poll`, in the caller's thread; a new reader starts at the first.

    Unlike Dagster's blob store readers it keeps no counter that could be lost, and it does not
    stop when the first attempt closes: a recovered job sends more messages.
    """

    def __init__(self, objects: Objects, job_id: str) -> None:
        self._objects, self._job_id = objects, job_id
        self._seen: set[str] = set()
        self._handler: PipesMessageHandler | None = None

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        yield {JOB_ID: self._job_id}

    def poll(self) -> None:
        """Handle the messages that arrived since the last call, in order."""
        assert self._handler is not None, "polled within a session"
        listed = {entry.path for entry in self._objects.list(paths.messages(self._job_id))}
        for path in sorted(listed - self._seen):
            self._handler.handle_message(json.loads(self._objects.get(path)))
            self._seen.add(path)

    def no_messages_debug_text(self) -> str:
        return f"No messages found below {self._objects.uri(paths.messages(self._job_id))}."
