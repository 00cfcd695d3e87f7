"""Runs embedding jobs as local processes, behind the same interface as the SkyPilot client."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader, open_pipes_session

from clip_assets.compute import Reports, ShardReport
from clip_assets.errors import JobError
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.node.program import COULD_NOT_START
from clip_assets.store.objects import Objects

_STOP_SECONDS = 10
_LINES_KEPT = 20


class LocalEmbedClient(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Runs each job in a subprocess with this interpreter; terminating the run terminates it."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardReport]:
        """Yields one report per shard. Raises JobError if the job failed."""
        reports = Reports()
        last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        with open_pipes_session(
            context=context,
            context_injector=PipesTempFileContextInjector(),
            message_reader=PipesTempFileMessageReader(),
        ) as session:
            command = [sys.executable, "-m", "clip_assets.node.embed"]
            command += ["--job", jobs.write(objects, job)]
            environment = {**os.environ, **session.get_bootstrap_env_vars()}
            with _process(command, environment) as process:
                assert process.stderr is not None, "stderr is a pipe"
                for line in process.stderr:
                    sys.stderr.write(line)
                    last_lines.append(line.rstrip())
                    yield from reports.new(session.get_custom_messages())
                status = process.wait()
        yield from reports.new(session.get_custom_messages())
        if status == COULD_NOT_START or status < 0:
            raise JobError(_failure(status, last_lines))
        reports.require_any()


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process whose stderr is a pipe, stopped at the end of the block."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
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
