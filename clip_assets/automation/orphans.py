"""Sensor that cancels orphaned SkyPilot jobs: those that no run waits for."""

import time

import dagster as dg
from dagster import DagsterRunStatus as Status

from clip_assets.automation.conditions import sensor_status
from clip_assets.collection import Collection
from clip_assets.compute.skypilot import jobs, names
from clip_assets.compute.skypilot.client import JOB_TAG
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.jobs import JobState

_WAITED_FOR = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]


def orphans_sensor(collection: Collection, sky: SkyPilotConfig) -> dg.SensorDefinition:
    """Cancel SkyPilot jobs of this collection that no run waits for."""

    @dg.sensor(
        name=f"{collection.name_with_model}_orphans",
        asset_selection=dg.AssetSelection.assets(collection.embeddings_key),
        minimum_interval_seconds=120,
        description="Cancels SkyPilot jobs whose run has ended and was not retried.",
        default_status=sensor_status(collection),
    )
    def orphans(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ours = jobs.unfinished(names.of_collection(context.instance, collection.name))
        old = time.time() - 60 * sky.orphan_minutes
        orphaned = [
            job
            for job in ours
            if job.attachable and job.submitted_at < old and not _awaited(context.instance, job)
        ]
        if not orphaned:
            return dg.SkipReason(f"{len(ours)} SkyPilot jobs are active, none orphaned.")
        jobs.cancel([job.id for job in orphaned])
        told = ", ".join(f"{job.id} ({job.name})" for job in orphaned)
        context.log.info(f"cancelled SkyPilot jobs that no run waits for: {told}")
        return dg.SkipReason(f"Cancelled SkyPilot jobs that no run waits for: {told}")

    return orphans


def _awaited(instance: dg.DagsterInstance, job: JobState) -> bool:
    """Whether the run that launched the job, or one that took it over, is unfinished."""
    tagged = dg.RunsFilter(statuses=_WAITED_FOR, tags={JOB_TAG: str(job.id)})
    if instance.get_runs_count(tagged):
        return True
    going = instance.get_runs(dg.RunsFilter(statuses=_WAITED_FOR))
    return any(run.run_id.startswith(names.run_of(job.name)) for run in going)
