"""Launches many managed jobs with one command, without Dagster: one job per range of shards."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clip_assets.collection import Collection
from clip_assets.compute.skypilot import jobs
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.task import task_of
from clip_assets.node import job as node_jobs
from clip_assets.node.job import EmbedJob
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class Launched:
    """A managed job and its shards. `job_id` names its job file; None if it was running already."""

    sky_job: int
    name: str
    shards: tuple[str, ...]
    job_id: str | None


def launch(
    of: Collection, objects: Objects, shards: Sequence[str], shards_per_job: int
) -> Iterator[Launched]:
    """Submit one job per `shards_per_job` shards; a job that is already running is kept."""
    config = of.sky or SkyPilotConfig()
    prefix = f"clip-by-hand-{of.collection}-"
    running = {job.name: job.id for job in jobs.unfinished(prefix) if job.attachable}
    for start in range(0, len(shards), shards_per_job):
        batch = tuple(shards[start : start + shards_per_job])
        name = f"{prefix}{node_jobs.batch_of(of.spec.slug, batch)}"
        if name in running:
            yield Launched(running[name], name, batch, None)
            continue
        job = _job(of, batch)
        task = task_of(config, {"JOB": node_jobs.write(objects, job)})
        yield Launched(jobs.launch(task, name, config.pool), name, batch, job.job_id)


def _job(of: Collection, shards: tuple[str, ...]) -> EmbedJob:
    run_id = uuid.uuid4().hex
    return EmbedJob(
        job_id=node_jobs.id_of(of.spec.slug, shards, run_id),
        run_id=f"by-hand-{run_id[:8]}",
        collection=of.collection,
        model=of.spec,
        shards=shards,
        part_rows=of.part_rows,
        batch_size=of.batch_size,
        max_reject_share=of.max_reject_share,
    )
