"""The sensor that cancels jobs that no run waits for."""

from datetime import timedelta

import dagster as dg

from clip_assets.dagster_skypilot import JOB_TAG, build_skypilot_orphans_sensor
from clip_assets.dagster_skypilot.names import of_instance
from tests.unit.dagster_skypilot.conftest import ManagedJobs, state


def test_only_jobs_whose_run_is_gone_are_cancelled(
    managed: ManagedJobs, instance: dg.DagsterInstance
) -> None:
    """Spared are jobs of a run that goes on, of a retry that took it over, young ones, those of
    other work, of other instances and of people."""
    ours = of_instance(instance)
    going = instance.create_run_for_job(_job, status=dg.DagsterRunStatus.STARTED)
    instance.create_run_for_job(_job, status=dg.DagsterRunStatus.STARTED, tags={JOB_TAG: "3"})
    names = {
        1: f"{ours}photos-1-00000000-0",
        2: f"{ours}photos-2-{going.run_id[:8]}-0",
        3: f"{ours}photos-3-00000000-0",
        4: f"{ours}others-4-00000000-0",
        5: "dagster-00000000-photos-5-00000000-0",
        6: "photos",
    }
    managed.states = {number: state(id=number, name=name) for number, name in names.items()}
    managed.states[7] = state(id=7, name=f"{ours}photos-7-00000000-0", submitted_at=2e10)
    sensor = build_skypilot_orphans_sensor(work="photos-", older_than=timedelta(0))
    told = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(told, dg.SkipReason)
    assert "1 (dagster-" in (told.skip_message or "")
    cancelled = [job.id for job in managed.states.values() if job.status == "CANCELLED"]
    assert cancelled == [1]


@dg.job
def _job() -> None:
    pass
