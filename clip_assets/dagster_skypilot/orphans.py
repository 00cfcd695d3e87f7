"""A sensor that cancels orphaned SkyPilot jobs: those that no run waits for."""

import time
from datetime import timedelta

import dagster as dg
from dagster import DagsterRunStatus as Status

from . import jobs, names
from .job import JOB_TAG
from .jobs import JobState

_WAITED_FOR = [Status.QUEUED, Status.NOT_STARTED, Status.STARTING, Status.STARTED, Status.CANCELING]


def build_skypilot_orphans_sensor(
    *,
    name: str = "skypilot_orphans",
    work: str = "",
    older_than: timedelta = timedelta(minutes=15),
    asset_selection: dg.AssetSelection | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
) -> dg.SensorDefinition:
    """Cancels jobs of this Dagster instance whose run has ended and was not retried.

    Jobs of other instances and of people are never touched.

    Args:
        name: name of the sensor.
        work: only cancel jobs whose work has a name with this prefix.
        older_than: spare younger jobs, because a lost run's retry may not have started.
        asset_selection: assets for which the UI shows the sensor.
        default_status: whether the sensor runs without being turned on.
    """

    @dg.sensor(
        name=name,
        asset_selection=asset_selection,
        minimum_interval_seconds=120,
        description="Cancels SkyPilot jobs whose run has ended and was not retried.",
        default_status=default_status,
    )
    def orphans(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ours = jobs.unfinished(f"{names.of_instance(context.instance)}{work}")
        old = time.time() - older_than.total_seconds()
        orphaned = [
            job
            for job in ours
            if job.attachable and job.submitted_at < old and not _awaited(context.instance, job)
        ]
        if not orphaned:
            return dg.SkipReason(f"{len(ours)} SkyPilot jobs are active, none orphaned.")
        jobs.cancel([job.id for job in orphaned])
        cancelled = ", ".join(f"{job.id} ({job.name})" for job in orphaned)
        context.log.info(f"cancelled SkyPilot jobs that no run waits for: {cancelled}")
        return dg.SkipReason(f"Cancelled SkyPilot jobs that no run waits for: {cancelled}")

    return orphans


def _awaited(instance: dg.DagsterInstance, job: JobState) -> bool:
    """Whether the run that launched the job, or one that took it over, is unfinished."""
    tagged = dg.RunsFilter(statuses=_WAITED_FOR, tags={JOB_TAG: str(job.id)})
    if instance.get_runs_count(tagged):
        return True
    going = instance.get_runs(dg.RunsFilter(statuses=_WAITED_FOR))
    return any(run.run_id.startswith(names.run_of(job.name)) for run in going)
