"""The part of SkyPilot's managed-jobs API that the client needs. The API server may be remote."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .failures import SkyPilotError, SkyPilotUnreachableError
from .task import AnyTask, build

if TYPE_CHECKING:
    from sky.schemas.api.responses import ManagedJobRecord

_FIELDS = (
    "job_id", "job_name", "status", "failure_reason", "recovery_count", "job_duration",
    "submitted_at", "cloud", "region", "zone", "infra", "accelerators", "cluster_resources",
    "cluster_resources_full", "resources", "details", "pool",
)  # fmt: skip
_ENDING = ("CANCELLING", "WINDING_DOWN")


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


def launch(
    task: AnyTask,
    name: str,
    *,
    pool: str | None = None,
    envs: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> int:
    """Submit a job; returns its id. An interrupt cancels the request."""
    import sky
    from sky import jobs

    built = build(task, envs=envs or {}, secrets=secrets or {}, pool=pool)
    with _reached():
        request = jobs.launch(built, name=name, pool=pool)
        try:
            ids, _ = sky.get(request)
        except BaseException:
            sky.api_cancel(request, silent=True)
            raise
    assert ids, "SkyPilot gives an accepted job its id"
    return ids[0]


def state(job_id: int) -> JobState:
    """The job's current state. Raises SkyPilotError if SkyPilot has no such job."""
    return states([job_id])[0]


def states(job_ids: Collection[int]) -> list[JobState]:
    """The jobs' current states in the order of the ids, with one request for all of them.

    Raises SkyPilotError if SkyPilot has no such job.
    """
    found = {job.id: job for job in _queue(job_ids=list(job_ids))} if job_ids else {}
    gone = [job_id for job_id in job_ids if job_id not in found]
    if gone:
        named = ", ".join(map(str, gone[:10]))
        raise SkyPilotError(f"SkyPilot no longer has managed job {named}. Run it again.")
    return [found[job_id] for job_id in job_ids]


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
    """Turn errors of the API server into one sentence each."""
    from sky import __version__, exceptions

    try:
        yield
    except (
        exceptions.ApiServerConnectionError,
        exceptions.ServerTemporarilyUnavailableError,
        ConnectionError,
    ) as error:
        raise SkyPilotUnreachableError(
            f"SkyPilot's API server does not answer ({error}). Check it with `sky api status`."
        ) from error
    except (exceptions.APIVersionMismatchError, exceptions.APINotSupportedError) as error:
        raise SkyPilotError(
            f"SkyPilot's API server is of another version than SkyPilot {__version__} here. "
            "Install the server's version, which `sky api info` shows; restart a server of your "
            f"own with `sky api stop; sky api start`. SkyPilot says: {_plain(error)}",
            allow_retries=False,
        ) from error
    except exceptions.ApiServerAuthenticationError as error:
        raise SkyPilotError(_plain(error), allow_retries=False) from error


def _plain(error: Exception) -> str:
    """A SkyPilot error as one line without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
