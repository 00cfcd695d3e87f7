"""Follows one managed job to its end: its status, its log and the node's shard reports."""

import sys
import time
from collections.abc import Iterator
from threading import Thread

import dagster as dg
from dagster import PipesSession

from clip_assets.compute import Machine, Outcomes, ShardOutcome
from clip_assets.compute.canceling import Canceling
from clip_assets.compute.skypilot import failures, jobs, price
from clip_assets.compute.skypilot.jobs import JobState
from clip_assets.compute.skypilot.messages import StoreMessageReader
from clip_assets.errors import JobError

_POLL_SECONDS = 4.0
_SILENCE_SECONDS = 300.0
_LOG_SECONDS = 10.0


class Watch:
    """Watches one running job; `state` and `machine` are the last ones seen."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        session: PipesSession,
        reader: StoreMessageReader,
        job_id: int,
    ) -> None:
        self._context, self._session, self._reader = context, session, reader
        self._told, self._canceling = Outcomes(), Canceling(context)
        self.state: JobState = jobs.state(job_id)
        self.machine: Machine | None = None

    def outcomes(self, max_recoveries: int) -> Iterator[ShardOutcome]:
        """Yields shards as they end, until the job ends. Raises JobError if preempted too often."""
        log = Thread(target=_copy_log, args=(self.state.id,), daemon=True)
        log.start()
        while True:
            self._see()
            self._reader.poll()
            yield from self._told.new(self._session.get_custom_messages(), self.machine)
            if self.state.terminal:
                break
            if self.state.recoveries > max_recoveries:
                jobs.cancel([self.state.id])
                raise JobError(failures.preempted_too_often(self.state))
            self._canceling.look()
            time.sleep(_POLL_SECONDS)
        log.join(_LOG_SECONDS)

    def require_success(self) -> None:
        """Raises JobError if the job failed or reported nothing."""
        problem = failures.failure(self.state, shards_failed=self._told.any_failed)
        if problem:
            raise problem
        self._told.require_any()

    def _see(self) -> None:
        before, self.state = self.state, _state(self.state)
        if self.machine is None or before.machine != self.state.machine:
            self.machine = price.machine(self.state) or self.machine
        news = (self.state.status, self.state.recoveries, self.state.infra)
        if self.machine is None or news != (before.status, before.recoveries, before.infra):
            self._context.log.info(_line(self.state, self.machine))


def _state(last: JobState) -> JobState:
    """The job's current state; waits through a short outage of the API server."""
    silent_since = time.monotonic()
    while True:
        try:
            return jobs.state(last.id)
        except jobs.SkyUnreachableError as error:
            if time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise JobError(
                    f"SkyPilot's API server has not answered for {_SILENCE_SECONDS:.0f} s "
                    f"({error}). Job {last.id} may still be running: materialize again once the "
                    "server answers, and the run re-attaches to it."
                ) from error
            time.sleep(_POLL_SECONDS)


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
