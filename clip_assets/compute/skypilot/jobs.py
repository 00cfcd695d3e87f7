"""The part of SkyPilot's managed-jobs API that the client needs. The API server may be remote."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clip_assets.errors import JobError

if TYPE_CHECKING:
    import sky
    from sky.schemas.api.responses import ManagedJobRecord

_FIELDS = (
    "job_id", "job_name", "status", "failure_reason", "recovery_count", "job_duration",
    "submitted_at", "cloud", "region", "zone", "infra", "accelerators", "cluster_resources",
    "cluster_resources_full", "resources", "details", "pool",
)  # fmt: skip
_ENDING = ("CANCELLING", "WINDING_DOWN")


class SkyUnreachableError(JobError):
    """SkyPilot's API server does not answer; jobs it accepted earlier may still run."""


@dataclass(frozen=True)
class JobState:
    """One managed job as SkyPilot's queue shows it; `seconds` is its running time without
    recoveries."""

    id: int
    name: str
    status: str
    terminal: bool
    reason: str
    details: str
    recoveries: int
    seconds: float
    submitted_at: float
    infra: str
    machine: str
    record: "ManagedJobRecord"

    @property
    def attachable(self) -> bool:
        """Whether a run can still re-attach to the job."""
        return not self.terminal and self.status not in _ENDING


def launch(task: "sky.Task", name: str, pool: str | None) -> int:
    """Submit a job; returns its id. An interrupt cancels the request."""
    import sky
    from sky import jobs

    with _reached():
        request = jobs.launch(task, name=name, pool=pool)
        try:
            ids, _ = sky.get(request)
        except BaseException:
            sky.api_cancel(request, silent=True)
            raise
    assert ids, "SkyPilot gives an accepted job its id"
    return ids[0]


def state(job_id: int) -> JobState:
    """The job's current state. Raises JobError if SkyPilot has no such job."""
    found = _queue(job_ids=[job_id])
    if not found:
        raise JobError(f"SkyPilot no longer has managed job {job_id}. Materialize again.")
    return found[0]


def unfinished(name: str) -> list[JobState]:
    """Jobs that have not ended and whose name starts with `name`, newest first."""
    found = _queue(name_match=name, skip_finished=True)
    alive = [job for job in found if job.name.startswith(name) and not job.terminal]
    return sorted(alive, key=lambda job: -job.id)


def cancel(job_ids: list[int]) -> None:
    """Cancel the jobs; returns once SkyPilot accepts, before the machines are down."""
    import sky
    from sky import jobs

    with _reached():
        sky.get(jobs.cancel(job_ids=job_ids))


def log_lines(job_id: int) -> Iterator[str]:
    """The lines the job prints, across recoveries; ends when the job has ended."""
    from sky import jobs

    for line in jobs.tail_logs(job_id=job_id, follow=True, preload_content=False):
        if line is not None:
            yield line


def dashboard(job_id: int) -> str:
    """URL of the job in SkyPilot's dashboard."""
    from sky.server import common

    return f"{common.get_server_url()}/dashboard/jobs/{job_id}"


def _queue(**asked: Any) -> list[JobState]:
    import sky
    from sky import jobs

    with _reached():
        records, *_ = sky.get(jobs.queue_v2(refresh=False, fields=_FIELDS, **asked))
    return [_state(record) for record in records]


def _state(record: "ManagedJobRecord") -> JobState:
    assert record.job_id is not None, "a queued job has an id"
    assert record.status is not None, "a queued job has a status"
    return JobState(
        id=record.job_id,
        name=record.job_name or "",
        status=record.status.value,
        terminal=record.status.is_terminal(),
        reason=record.failure_reason or "",
        details=record.details or "",
        recoveries=record.recovery_count or 0,
        seconds=record.job_duration or 0.0,
        submitted_at=record.submitted_at or 0.0,
        infra=record.infra or "",
        machine=record.cluster_resources or "",
        record=record,
    )


@contextmanager
def _reached() -> Iterator[None]:
    """Raises SkyUnreachableError if the API server cannot be reached."""
    from sky import exceptions

    try:
        yield
    except (
        exceptions.ApiServerConnectionError,
        exceptions.ServerTemporarilyUnavailableError,
        ConnectionError,
    ) as error:
        raise SkyUnreachableError(
            f"SkyPilot's API server does not answer ({error}). Check it with `sky api status`."
        ) from error
