"""Pipes messages as objects under the data URI: they outlive log streams and the run's worker.

A job that recovers on another machine appends to the messages of the first attempt.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from dagster_pipes import (
    PipesDefaultMessageWriter,
    PipesMessage,
    PipesMessageWriter,
    PipesMessageWriterChannel,
    PipesParams,
)

from clip_assets.store import paths
from clip_assets.store.objects import Objects

JOB_ID = "clip_assets_job_id"
"""Pipes parameter that asks for messages in the store instead of in a file or stream."""


class StoreMessageChannel(PipesMessageWriterChannel):
    """Writes one object per message; there are few, about one per shard.

    Two jobs may write at once, because a preempted machine can keep running for a while.
    """

    def __init__(self, objects: Objects, job_id: str) -> None:
        self._objects, self._job_id = objects, job_id
        self._numbers = count(len(list(objects.list(paths.messages(job_id)))))

    def write_message(self, message: PipesMessage) -> None:
        data = json.dumps(message).encode()
        while not self._objects.create(paths.message(self._job_id, next(self._numbers)), data):
            pass


class MessageWriter(PipesMessageWriter[PipesMessageWriterChannel]):
    """Writes where the orchestrator's reader asks: to the store, or to Pipes' default channel."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @contextmanager
    def open(self, params: PipesParams) -> Iterator[PipesMessageWriterChannel]:
        if JOB_ID in params:
            yield StoreMessageChannel(self._objects, params[JOB_ID])
        else:
            with PipesDefaultMessageWriter().open(params) as channel:
                yield channel
