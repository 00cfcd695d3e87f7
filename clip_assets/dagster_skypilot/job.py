"""One managed job as its run sees it: its status, its log and the messages of its program."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Thread

import dagster as dg

from . import jobs
from .failures import SkyPilotError, SkyPilotUnreachableError, failure, preempted_too_often
from .jobs import JobState
from .machine import Machine, machine_of
from .reader import PipesObjectStoreMessageReader

JOB_TAG = "skypilot/job"
"""Run tag with the id of the managed job that the run waits for."""

_SILENCE_SECONDS = 300.0
_OUTAGE_SECONDS = 4.0
_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Manner:
    """How to watch a job: the client's arguments of the same names."""

    max_recoveries: int
    poll_seconds: float
    forward_stdio: bool


class PipesSkyPilotJob:
    """A managed job that a run waits for, as `PipesSkyPilotClient.open` yields it.

    `name` is its name in SkyPilot, and `key` is the part after the Dagster instance. `state` and
    `machine` are the latest known; `session` has what the job's program has reported so far.
    """

    def __init__(
        self,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        session: dg.PipesSession,
        reader: PipesObjectStoreMessageReader,
        state: JobState,
        manner: Manner,
    ) -> None:
        self._context, self._reader, self._manner = context, reader, manner
        self.session, self.state = session, state
        self.machine: Machine | None = None

    @property
    def id(self) -> int:
        return self.state.id

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def key(self) -> str:
        return self.name.split("-", 2)[2]

    @property
    def metadata(self) -> dict[str, dg.MetadataValue]:
        """The job, its machine and its cost, as metadata of an asset."""
        values: dict[str, dg.MetadataValue] = {
            "skypilot/job": dg.MetadataValue.int(self.id),
            "skypilot/dashboard": dg.MetadataValue.url(jobs.dashboard(self.id)),
            "skypilot/recoveries": dg.MetadataValue.int(self.state.recoveries),
            "skypilot/seconds": dg.MetadataValue.float(self.state.seconds),
        }
        if self.machine:
            accelerator = f"{self.machine.gpus:g}x {self.machine.accelerator}"
            values["skypilot/infra"] = dg.MetadataValue.text(self.machine.infra)
            values["skypilot/accelerator"] = dg.MetadataValue.text(
                accelerator if self.machine.gpus else "none"
            )
            dollars = self.machine.dollars(self.state.seconds)
            if dollars is not None:
                values["skypilot/dollars"] = dg.MetadataValue.float(dollars)
        return values

    def updates(self) -> Iterator[JobState]:
        """Yields the job's state after each poll of the job and its messages, until it ends.

        Raises SkyPilotJobError if it lost its machine too often, and
        DagsterExecutionInterruptedError if a user terminates the run.
        """
        log = Thread(target=_copy_log, args=(self.id,), daemon=True)
        if self._manner.forward_stdio:
            log.start()
        while True:
            self._look()
            self._reader.poll()
            yield self.state
            if self.state.terminal:
                break
            if self.state.recoveries > self._manner.max_recoveries:
                jobs.cancel([self.id])
                raise preempted_too_often(self.state)
            # Python ignores exceptions that a signal handler raises inside a destructor or a
            # weakref callback; without this, the run would go on.
            if is_canceled(self._context):
                raise dg.DagsterExecutionInterruptedError
            time.sleep(self._manner.poll_seconds)
        if self._manner.forward_stdio:
            log.join(_LOG_SECONDS)

    def require_success(self) -> None:
        """Raises SkyPilotJobError, with the remedy, if the job did not succeed."""
        problem = failure(self.state)
        if problem:
            raise problem

    def _look(self) -> None:
        before, self.state = self.state, _state(self.id)
        if self.machine is None or before.machine != self.state.machine:
            self.machine = machine_of(self.state) or self.machine
        news = (self.state.status, self.state.recoveries, self.state.infra)
        if self.machine is None or news != (before.status, before.recoveries, before.infra):
            self._context.log.info(_line(self.state, self.machine))


def is_canceled(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> bool:
    """Whether a user terminated the run; if not, the interrupt has another cause."""
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status in (
        dg.DagsterRunStatus.CANCELING,
        dg.DagsterRunStatus.CANCELED,
    )


def _state(job_id: int) -> JobState:
    """The job's current state; waits through a short outage of the API server."""
    silent_since = time.monotonic()
    while True:
        try:
            return jobs.state(job_id)
        except SkyPilotUnreachableError as error:
            if time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise SkyPilotError(
                    f"SkyPilot's API server has not answered for {_SILENCE_SECONDS:.0f} s. Job "
                    f"{job_id} may still be running: run it again once the server answers, and "
                    "the run re-attaches to the job."
                ) from error
            time.sleep(_OUTAGE_SECONDS)


def _copy_log(job_id: int) -> None:
    """Copy the job's log to stderr, which Dagster stores as the run's compute log."""
    try:
        for line in jobs.log_lines(job_id):
            sys.stderr.write(line)
    except Exception as error:
        sys.stderr.write(f"SkyPilot's log stream ended early: {error}\n")


def _line(job: JobState, machine: Machine | None) -> str:
    where = f" on {machine.infra}, {machine.gpus:g}x {machine.accelerator}" if machine else ""
    price_ = f", ${machine.dollars_per_hour}/h" if machine and machine.dollars_per_hour else ""
    again = f", {job.recoveries} recoveries" if job.recoveries else ""
    return f"SkyPilot job {job.id}: {job.status}{where}{price_}{again}"
