"""Launches many managed jobs with one command, without Dagster: one job per range of shards."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clip_assets.compute.skypilot import task
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.dagster_skypilot import jobs
from clip_assets.node import job as node_jobs
from clip_assets.node.job import EmbedJob
from clip_assets.store.objects import Objects


@dataclass(frozen=True)
class Launched:
    """A managed job and its shards. `job_id` names its job file; None if it was already running."""

    sky_job: int
    name: str
    shards: tuple[str, ...]
    job_id: str | None


def launch(
    config: SkyPilotConfig, objects: Objects, collection: str, asked: Iterable[EmbedJob]
) -> Iterator[Launched]:
    """Submit the jobs of one collection; a running job for the same shards is kept instead."""
    prefix = f"clip-by-hand-{collection}-"
    document, secrets = task.document(config), task.secrets(config)
    running = {job.name: job.id for job in jobs.unfinished(prefix) if job.attachable}
    for job in asked:
        name = f"{prefix}{job.batch}"
        if name in running:
            yield Launched(running[name], name, job.shards, None)
            continue
        envs = {"JOB": node_jobs.write(objects, job)}
        sky_job = jobs.launch(document, name, pool=config.pool, envs=envs, secrets=secrets)
        yield Launched(sky_job, name, job.shards, job.job_id)
