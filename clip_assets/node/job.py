"""The description of one embedding job: a file under the data URI, not a command line.

A list of 10,000 shards does not fit in an environment variable; a job file has no such limit.
"""

import hashlib
import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from clip_assets.errors import StoreError
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.store import paths
from clip_assets.store.objects import Objects

CODE_VERSION = "3"
"""Increased when the same images and weights would result in different parquet."""


class EmbedJob(BaseModel):
    """Embed `shards` of one collection with one model.

    `part_rows` is the number of catalog rows per part, the unit of resuming: about a minute of
    work on the slowest device. A shard that rejects more than `max_reject_share` of its images is
    reported. `max_megapixels` limits decoding, in millions of pixels. The default `batch_size`
    depends on the device: 512 on a GPU, less if its memory is too small.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    run_id: str
    collection: str
    model: ModelSpec
    shards: tuple[str, ...]
    part_rows: int = Field(2_000, ge=1)
    batch_size: int | None = Field(None, ge=1)
    max_reject_share: float = Field(0.01, ge=0, le=1)
    max_megapixels: float = Field(100, gt=0)
    thumbnails: bool = True

    @property
    def batch(self) -> str:
        """Equal for all jobs with the same shards and model."""
        return self.job_id.split("-")[0]


def batch_of(slug: str, shards: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([slug, *shards]).encode()).hexdigest()[:8]


def id_of(slug: str, shards: Sequence[str], run_id: str, attempt: int = 0) -> str:
    """A job's id names its batch and run, so that the job of a lost worker can be found again."""
    return f"{batch_of(slug, shards)}-{run_id[:8]}-{attempt}"


def ids_by_hand(slug: str, shards: Sequence[str]) -> tuple[str, str]:
    """Ids of a new job and of its run, for a job without a Dagster run."""
    run = uuid.uuid4().hex
    return id_of(slug, shards, run), f"by-hand-{run[:8]}"


def write(objects: Objects, job: EmbedJob) -> str:
    """Write the job file; returns its URI."""
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
        raise StoreError(f"{uri} does not exist. Give the URI of an existing job.json.") from error


class TextJob(BaseModel):
    """Texts, and the model that must encode them."""

    model_config = ConfigDict(frozen=True)

    spec: ModelSpec
    identity: ModelIdentity
    texts: tuple[str, ...]
