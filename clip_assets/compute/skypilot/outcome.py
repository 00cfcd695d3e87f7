"""Explains how a managed job ended, and what to do."""

from clip_assets.compute.skypilot.jobs import JobState
from clip_assets.errors import HopelessJobError, JobError

_REMEDIES = {
    "FAILED_NO_RESOURCE": (
        "no cloud had the requested machine. Allow more `accelerators`, `any_of` or `infra` in the "
        "collection's `sky:` block, or materialize again later."
    ),
    "FAILED_PRECHECKS": (
        "SkyPilot rejected its resources before it started. `sky check` lists the enabled clouds; "
        "correct the collection's `sky:` block."
    ),
    "FAILED_SETUP": (
        "its setup failed. See the setup's output in the run's stderr; fix `setup:` in the task "
        "file and materialize again."
    ),
    "FAILED": (
        "its program failed. See its output in the run's stderr. Materialize again: finished parts "
        "are kept."
    ),
    "FAILED_CONTROLLER": (
        "SkyPilot's own controller failed. `sky jobs logs --controller` shows why. "
        "Materialize again: finished parts are kept."
    ),
    "CANCELLED": ("it was cancelled outside this run. Materialize again: finished parts are kept."),
}

# Retrying the same job cannot succeed, or somebody cancelled it on purpose.
_HOPELESS = {"FAILED_NO_RESOURCE", "FAILED_PRECHECKS", "FAILED_SETUP", "CANCELLED"}


def failure(job: JobState, *, shards_failed: bool) -> JobError | None:
    """The error that explains why a job failed, or None if it did not.

    A program that reported its failed shards did its work, although it exits with an error.
    """
    if job.status == "SUCCEEDED" or (job.status == "FAILED" and shards_failed):
        return None
    remedy = _REMEDIES.get(job.status, "this version does not know that status.")
    reason = f" SkyPilot says: {job.reason}" if job.reason else ""
    kind = HopelessJobError if job.status in _HOPELESS else JobError
    return kind(f"SkyPilot job {job.id} ended {job.status}: {remedy}{reason}")


def preempted_too_often(job: JobState) -> str:
    return (
        f"SkyPilot job {job.id} lost its machine {job.recoveries} times and was cancelled. "
        "Request on-demand machines (`use_spot: false`) or another region in the collection's "
        "`sky:` block, or raise `max_recoveries`. Materialize again: finished parts are kept."
    )
