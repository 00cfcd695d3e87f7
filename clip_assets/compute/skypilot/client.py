"""Runs one batch of shards as one SkyPilot managed job, behind the interface of a local process."""

from collections.abc import Iterator

import dagster as dg

from clip_assets.compute import Outcomes, ShardOutcome
from clip_assets.compute.skypilot import task
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.failures import as_job_error
from clip_assets.dagster_skypilot import PipesSkyPilotClient, PipesSkyPilotJob
from clip_assets.node import job as node_jobs
from clip_assets.node.job import EmbedJob
from clip_assets.store import costs
from clip_assets.store.costs import Cost
from clip_assets.store.objects import Objects

_REMEDY = (
    "The collection's `sky:` block sets the task's resources. Materialize again: finished parts "
    "are kept."
)


class SkyPilotEmbedClient:
    """Launches a managed job, or re-attaches to the unfinished job of the same batch."""

    def __init__(self, config: SkyPilotConfig) -> None:
        self._config = config

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        """Yields one outcome per shard as it ends. Raises JobError if the job failed."""
        outcomes = Outcomes()
        pipes = PipesSkyPilotClient(objects, max_recoveries=self._config.max_recoveries)
        with as_job_error(_REMEDY):
            with pipes.open(
                context=context,
                task=task.document(self._config),
                name=work_of(job.collection, job.batch),
                pool=self._config.pool,
                envs={"JOB": node_jobs.write(objects, job)},
                secrets=task.secrets(self._config),
            ) as sky_job:
                for _ in sky_job.updates():
                    reported = sky_job.session.get_custom_messages()
                    yield from outcomes.new(reported, sky_job.machine)
            _write_cost(objects, job.collection, sky_job)
            # A program that reported failed shards did its work, although it exits with status 1.
            if not (outcomes.any_failed and sky_job.state.status == "FAILED"):
                sky_job.require_success()
        outcomes.require_any()


def work_of(collection: str, batch: str = "") -> str:
    """The name of SkyPilot jobs for a batch of the collection; without a batch, their prefix."""
    return f"{collection}-{batch}"


def _write_cost(objects: Objects, collection: str, sky_job: PipesSkyPilotJob) -> None:
    machine, seconds = sky_job.machine, sky_job.state.seconds
    if machine is None:
        return
    cost = Cost(
        job=machine.job,
        infra=machine.infra,
        accelerator=machine.accelerator,
        gpu_seconds=round(seconds * machine.gpus, 1),
        dollars=machine.dollars(seconds),
    )
    # An earlier run may have launched the job, under that run's id.
    costs.write(objects, sky_job.key.removeprefix(work_of(collection)), cost)
