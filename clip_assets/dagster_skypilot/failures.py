"""Errors, and how a managed job ended: each says what to do.

They are Dagster failures, so that the UI shows the message first and a retry policy does not retry
what would fail again.
"""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from .jobs import JobState


class SkyPilotError(dg.Failure):
    """SkyPilot cannot do what was requested."""


class SkyPilotUnreachableError(SkyPilotError):
    """SkyPilot's API server does not answer; jobs it accepted earlier may still run."""


class SkyPilotJobError(SkyPilotError):
    """A managed job did not succeed; `status` is its final status in SkyPilot."""

    def __init__(self, description: str, status: str, *, allow_retries: bool) -> None:
        super().__init__(description, allow_retries=allow_retries)
        self.status = status


_REMEDIES = {
    "FAILED_NO_RESOURCE": (
        "no cloud had the requested machine. Allow more `accelerators`, `any_of` or `infra` in the "
        "task's resources, or run it again later."
    ),
    "FAILED_PRECHECKS": (
        "SkyPilot rejected its resources before it started. `sky check` lists the enabled clouds; "
        "correct the task's resources."
    ),
    "FAILED_SETUP": (
        "its setup failed. See the setup's output in the run's stderr; fix the task's `setup:` and "
        "run it again."
    ),
    "FAILED": "its program failed. See its output in the run's stderr.",
    "FAILED_CONTROLLER": (
        "SkyPilot's own controller failed. `sky jobs logs --controller` shows why. Run it again."
    ),
    "CANCELLED": "it was cancelled outside this run. Run it again if that was a mistake.",
}

# Retrying the same job cannot succeed, or somebody cancelled it on purpose.
_HOPELESS = {"FAILED_NO_RESOURCE", "FAILED_PRECHECKS", "FAILED_SETUP", "CANCELLED"}


def failure(job: "JobState") -> SkyPilotJobError | None:
    """The error that explains why a job failed, or None if it succeeded."""
    if job.status == "SUCCEEDED":
        return None
    remedy = _REMEDIES.get(job.status, "this version does not know that status.")
    reason = f" SkyPilot says: {job.reason}" if job.reason else ""
    message = f"SkyPilot job {job.id} ended {job.status}: {remedy}{reason}"
    return SkyPilotJobError(message, job.status, allow_retries=job.status not in _HOPELESS)


def preempted_too_often(job: "JobState") -> SkyPilotJobError:
    message = (
        f"SkyPilot job {job.id} lost its machine {job.recoveries} times and was cancelled. "
        "Request on-demand machines (`use_spot: false`) or another region in the task's "
        "resources, or raise `max_recoveries`."
    )
    return SkyPilotJobError(message, job.status, allow_retries=True)
