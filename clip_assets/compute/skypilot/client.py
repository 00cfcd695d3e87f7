"""`PipesSkyPilotClient`: runs one batch of shards as one SkyPilot managed job."""

from collections.abc import Iterator

import dagster as dg
from dagster import PipesEnvContextInjector, PipesSession, open_pipes_session

from clip_assets.compute import Machine, ShardOutcome
from clip_assets.compute.skypilot import jobs, names
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.messages import StoreMessageReader
from clip_assets.compute.skypilot.task import task_of
from clip_assets.compute.skypilot.watch import Watch
from clip_assets.dagster_private import is_canceling
from clip_assets.node import job as node_jobs
from clip_assets.node.job import EmbedJob
from clip_assets.store import costs
from clip_assets.store.costs import Cost
from clip_assets.store.objects import Objects

JOB_TAG = "clip_assets/sky_job"
"""Run tag with the id of the managed job that the run waits for."""


class PipesSkyPilotClient:
    """Launches a managed job, or re-attaches to the job of a lost worker of the same batch.

    Only a user who terminates the run cancels its job. A run that ends in any other way leaves the
    job to its retry, or at last to the sensor for orphaned jobs.
    """

    def __init__(self, config: SkyPilotConfig) -> None:
        self._config = config

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        """Yields one outcome per shard as it ends. Raises JobError if the job failed."""
        prefix = names.of_collection(context.instance, job.collection)
        left = next((j for j in jobs.unfinished(f"{prefix}{job.batch}-") if j.attachable), None)
        name = left.name if left else f"{prefix}{job.job_id}"
        job_id = name.removeprefix(prefix)
        reader = StoreMessageReader(objects, job_id)
        with open_pipes_session(
            context=context, context_injector=PipesEnvContextInjector(), message_reader=reader
        ) as session:
            try:
                sky_job = left.id if left else self._launch(session, objects, job, name)
                _tell(context, sky_job, name, attached=left is not None)
                watch = Watch(context, session, reader, sky_job)
                yield from watch.outcomes(self._config.max_recoveries)
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt, GeneratorExit):
                # Otherwise Dagster is stopped or the run failed: its retry re-attaches.
                if is_canceling(context.instance, context.run.run_id):
                    _cancel(context, name)
                raise
        if watch.machine:
            costs.write(objects, job_id, _cost(watch.machine, watch.state.seconds))
        watch.require_success()

    def _launch(self, session: PipesSession, objects: Objects, job: EmbedJob, name: str) -> int:
        envs = {"JOB": node_jobs.write(objects, job), **session.get_bootstrap_env_vars()}
        return jobs.launch(task_of(self._config, envs), name, self._config.pool)


def _tell(context: dg.AssetExecutionContext, sky_job: int, name: str, *, attached: bool) -> None:
    context.instance.add_run_tags(context.run_id, {JOB_TAG: str(sky_job)})
    how = "re-attached to" if attached else "launched"
    context.log.info(f"{how} SkyPilot job {sky_job} ({name}): {jobs.dashboard(sky_job)}")


def _cancel(context: dg.AssetExecutionContext, name: str) -> None:
    ids = [job.id for job in jobs.unfinished(name) if job.name == name]
    if ids:
        jobs.cancel(ids)
        context.log.info(f"cancelled SkyPilot job {ids[0]}")


def _cost(machine: Machine, seconds: float) -> Cost:
    return Cost(
        job=machine.job,
        infra=machine.infra,
        accelerator=machine.accelerator,
        gpu_seconds=round(seconds * machine.gpus, 1),
        dollars=machine.dollars(seconds),
    )
