"""Runs embedding jobs as local processes, behind the same interface as the SkyPilot client."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader, open_pipes_session

from clip_assets import project
from clip_assets.compute import Outcomes, ShardOutcome
from clip_assets.compute.canceling import Canceling
from clip_assets.errors import JobError
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.node.program import COULD_NOT_START
from clip_assets.store.objects import Objects

_STOP_SECONDS = 2
_LINES_KEPT = 20


class LocalEmbedClient(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Runs each job in a subprocess with this interpreter; terminating the run terminates it.

    `project` is the folder of the Dagster project, whose `.env` may have what a source needs.
    """

    project: str | None = None

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        """Yields one outcome per shard. Raises JobError if the job failed."""
        outcomes, canceling = Outcomes(), Canceling(context)
        last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        with open_pipes_session(
            context=context,
            context_injector=PipesTempFileContextInjector(),
            message_reader=PipesTempFileMessageReader(),
        ) as session:
            command = [sys.executable, "-m", "clip_assets.node.embed"]
            command += ["--job", jobs.write(objects, job)]
            environment = {**os.environ, **session.get_bootstrap_env_vars()}
            if self.project:
                environment[project.VARIABLE] = self.project
            with _process(command, environment) as process:
                assert process.stderr is not None, "stderr is a pipe"
                for line in process.stderr:
                    sys.stderr.write(line)
                    last_lines.append(line.rstrip())
                    yield from outcomes.new(session.get_custom_messages())
                    canceling.look()
                status = process.wait()
        yield from outcomes.new(session.get_custom_messages())
        if status == COULD_NOT_START or status < 0:
            raise JobError(_failure(status, last_lines))
        outcomes.require_any()


def stop_all() -> None:
    """Stop every job of this process; threads that wait for one continue."""
    for process in tuple(_running):
        _stop(process)


_running: "set[subprocess.Popen[str]]" = set()


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process whose stderr is a pipe, stopped at the end of the block."""
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches only the run, which then stops the job
    ) as process:
        _running.add(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                _stop(process)
            _running.discard(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    """Kill after a short wait: a job has nothing to save, because incomplete files do not count."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _failure(status: int, lines: Sequence[str]) -> str:
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return (
        f"The embedding process ended with {how}. Run it again: finished parts are kept. "
        f"Its last line was: {lines[-1] if lines else 'none'}"
    )
