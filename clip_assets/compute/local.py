"""Run embedding jobs as processes of this machine: the twin of the SkyPilot client."""

import os
import signal
import subprocess
import sys
from collections import deque

import dagster as dg
from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader, open_pipes_session

from clip_assets.compute import ShardReport, reports_of
from clip_assets.errors import JobError

_STOP_SECONDS = 10
_COULD_NOT_START = 2
_LINES_KEPT = 20


class LocalEmbedClient(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One subprocess a job, with this interpreter. Terminating the run terminates it."""

    def run(self, context: dg.AssetExecutionContext, job_uri: str) -> list[ShardReport]:
        """One report a shard. Raises JobError if the job could not do its work."""
        with open_pipes_session(
            context=context,
            context_injector=PipesTempFileContextInjector(),
            message_reader=PipesTempFileMessageReader(),
        ) as session:
            command = [sys.executable, "-m", "clip_assets.node.embed", "--job", job_uri]
            environment = {**os.environ, **session.get_bootstrap_env_vars()}
            status, last_lines = _run(command, environment)
        if status == _COULD_NOT_START or status < 0:
            raise JobError(_failure(status, last_lines))
        return reports_of(session.get_custom_messages())


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    """Exit status and last lines of stderr, which also goes to the run's compute logs."""
    kept: deque[str] = deque(maxlen=_LINES_KEPT)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None, "stderr is a pipe"
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                kept.append(line.rstrip())
            return process.wait(), list(kept)
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            _stop(process)
            raise


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _failure(status: int, lines: list[str]) -> str:
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return (
        f"The embedding process ended with {how}. Run it again: finished parts are kept. "
        f"Its last line was: {lines[-1] if lines else 'none'}"
    )
