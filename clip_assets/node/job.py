"""What one embedding job is asked to do: a file under the data URI, not a command line.

A list of 10,000 shards does not fit an environment variable; a job file has no such limit.
"""

import hashlib
import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from clip_assets.errors import StoreError
from clip_assets.model import ModelSpec
from clip_assets.store import paths
from clip_assets.store.objects import Objects


class EmbedJob(BaseModel):
    """Embed `shards` of one collection with one model.

    `part_rows` is how many catalog rows make one part, the unit of resuming: about a minute of
    the slowest device. `max_reject_share` fails a shard that rejects a larger share of its
    images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    run_id: str
    collection: str
    model: ModelSpec
    shards: tuple[str, ...]
    part_rows: int = Field(2_000, ge=1)
    batch_size: int = Field(32, ge=1)
    max_reject_share: float = Field(0.01, ge=0, le=1)

    @property
    def batch(self) -> str:
        """The same for every job that was asked for the same shards with the same model."""
        return self.job_id.split("-")[0]


def batch_of(slug: str, shards: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([slug, *shards]).encode()).hexdigest()[:8]


def id_of(slug: str, shards: Sequence[str], run_id: str, attempt: int = 0) -> str:
    """A job's id: it tells batch and run, so a lost worker's job is found again by its name."""
    return f"{batch_of(slug, shards)}-{run_id[:8]}-{attempt}"


def ids_by_hand(slug: str, shards: Sequence[str]) -> tuple[str, str]:
    """Ids of a new job and of its run, where no run of Dagster gives one."""
    run = uuid.uuid4().hex
    return id_of(slug, shards, run), f"by-hand-{run[:8]}"


def write(objects: Objects, job: EmbedJob) -> str:
    """Put the job file; returns its URI."""
    path = paths.job(job.job_id)
    objects.put(path, job.model_dump_json(indent=1).encode())
    return objects.uri(path)


def read(uri: str) -> tuple[Objects, EmbedJob]:
    """The collection's objects and the job in `{data}/{collection}/jobs/{job_id}/job.json`."""
    root, _, tail = uri.rpartition("/jobs/")
    try:
        objects = Objects(root)
        return objects, EmbedJob.model_validate_json(objects.get(f"jobs/{tail}"))
    except FileNotFoundError as error:
        raise StoreError(f"{uri} does not exist; give the job.json that was written.") from error
