"""Progress of a running job: a progress file, shards to Dagster, lines to stderr."""

import os
import sys
import time
from threading import RLock
from typing import Any, Literal

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, PipesContext, open_dagster_pipes
from pydantic import BaseModel

from clip_assets.dagster_skypilot.messages import PipesObjectStoreMessageWriter
from clip_assets.node.job import EmbedJob
from clip_assets.node.stages import Stages
from clip_assets.store import paths
from clip_assets.store.objects import Objects

State = Literal["committed", "unchanged", "failed"]
_EVERY_SECONDS = 1.0


class Progress(BaseModel):
    """The content of the progress file, which is replaced about once a second."""

    shards: int
    shards_done: int = 0
    images: int = 0
    images_done: int = 0
    images_per_second: float = 0.0
    limited_by: str = ""


def read_progress(objects: Objects, job_id: str) -> Progress | None:
    """The job's progress, or None if it has not started."""
    try:
        return Progress.model_validate_json(objects.get(paths.progress(job_id)))
    except FileNotFoundError:
        return None


class ProgressWriter:
    """Reports the progress of one job; to Dagster only if Dagster launched it."""

    def __init__(self, objects: Objects, job: EmbedJob, images: int) -> None:
        self._objects, self._job = objects, job
        self._progress = Progress(shards=len(job.shards), images=images)
        self._started = self._written = time.monotonic()
        self._encoded = 0
        self._stages: Stages | None = None
        self._lock = RLock()  # images are counted in one thread, shards end in another
        self._pipes: PipesContext | None = None
        if DAGSTER_PIPES_CONTEXT_ENV_VAR in os.environ:
            writer = PipesObjectStoreMessageWriter(objects)
            self._pipes = open_dagster_pipes(message_writer=writer)

    def watch(self, stages: Stages) -> None:
        """From now on, also report which stage limits the job."""
        self._stages = stages

    def images(self, count: int, *, encoded: bool) -> None:
        """`count` more images are done; `encoded` is false if an earlier attempt did them."""
        with self._lock:
            self._encoded += count * encoded
            self._progress.images_done += count
            if time.monotonic() - self._written > _EVERY_SECONDS:
                self._write()

    def one_image(self) -> None:
        self.images(1, encoded=True)

    def shard(self, shard: str, state: State, message: str = "") -> None:
        """One shard has ended; `message` says why it failed."""
        with self._lock:
            if state != "failed":
                self._progress.shards_done += 1
            self._write()
        self.say(f"shard {shard}: {state}{f' - {message}' if message else ''}")
        if self._pipes:
            payload: dict[str, Any] = {"shard": shard, "state": state, "message": message}
            self._pipes.report_custom_message(payload)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        self._write()
        if self._pipes:
            self._pipes.close()

    def _write(self) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._started
        self._progress.images_per_second = round(self._encoded / elapsed, 2) if elapsed else 0.0
        self._progress.limited_by = self._stages.limit if self._stages else ""
        path = paths.progress(self._job.job_id)
        self._objects.put(path, self._progress.model_dump_json().encode())
        done = self._progress
        self.say(
            f"{done.shards_done}/{done.shards} shards, {done.images_done}/{done.images} images, "
            f"{done.images_per_second:.0f} images/s"
            f"{f', limited by: {done.limited_by}' if done.limited_by else ''}"
        )
