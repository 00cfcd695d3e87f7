"""How a managed job ended, in words that say what to do."""

from clip_assets.compute.skypilot.jobs import JobState
from clip_assets.errors import HopelessJobError, JobError

_REMEDIES = {
    "FAILED_NO_RESOURCE": (
        "no cloud had the machine it asked for. Widen `accelerators`, `any_of` or `infra` in the "
        "collection's `sky:` block, or materialize again later."
    ),
    "FAILED_PRECHECKS": (
        "SkyPilot refused its resources before it started. `sky check` lists the clouds it may "
        "use; mend the collection's `sky:` block."
    ),
    "FAILED_SETUP": (
        "its setup failed. The run's stderr holds the setup's output; mend the task file's "
        "`setup:` and materialize again."
    ),
    "FAILED": (
        "its program failed. The run's stderr holds what it printed. Materialize again: finished "
        "parts are kept."
    ),
    "FAILED_CONTROLLER": (
        "SkyPilot's own controller failed. `sky jobs logs --controller` has its reason. "
        "Materialize again: finished parts are kept."
    ),
    "CANCELLED": ("it was cancelled outside this run. Materialize again: finished parts are kept."),
}

# Somebody has to change something first, or wanted it so.
_HOPELESS = {"FAILED_NO_RESOURCE", "FAILED_PRECHECKS", "FAILED_SETUP", "CANCELLED"}


def failure(job: JobState, *, shards_failed: bool) -> JobError | None:
    """The error that tells what went wrong with a job that ended, or None.

    A program that named its failed shards has done its work, though it ends with an error.
    """
    if job.status == "SUCCEEDED" or (job.status == "FAILED" and shards_failed):
        return None
    remedy = _REMEDIES.get(job.status, "it ended in a way this version does not know.")
    reason = f" SkyPilot says: {job.reason}" if job.reason else ""
    kind = HopelessJobError if job.status in _HOPELESS else JobError
    return kind(f"SkyPilot job {job.id} ended {job.status}: {remedy}{reason}")


def preempted_too_often(job: JobState) -> str:
    return (
        f"SkyPilot job {job.id} lost its machine {job.recoveries} times and was cancelled. Ask "
        "for on-demand machines (`use_spot: false`) or another region in the collection's `sky:` "
        "block, or raise `max_recoveries`. Materialize again: finished parts are kept."
    )
