"""What the tests use of Dagster's internals: the clock of its log, its storage, its daemon."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._cli import dev
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster._core.storage.runs import RunStorage
from dagster._core.test_utils import (
    InProcessTestWorkspaceLoadTarget,
    create_test_daemon_workspace_context,
    freeze_time,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon import controller
from dagster._daemon.cli import main as daemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import get_current_datetime

__all__ = [
    "daemon",
    "freeze_time",
    "in_process_location",
    "set_defs_state_storage",
    "start_daemon_by",
    "tick_every",
    "without_database",
]


def start_daemon_by(command: Sequence[str]) -> None:
    """Makes `dg dev`, if it is called in this process, start its daemon by another command."""
    start: Callable[..., Any] = dev.open_ipc_subprocess

    def start_other(parts: Sequence[str], **more: Any) -> Any:
        _python, _m, module, *arguments = parts
        if module == "dagster._daemon":
            parts = [*command, *arguments]
        return start(parts, **more)

    dev.open_ipc_subprocess = start_other


def without_database(instance: dg.DagsterInstance) -> None:
    """Makes the instance reach its runs as on Dagster+: through a RunStorage without SQL."""
    inner = instance.run_storage

    def forwarded(name: str) -> Any:
        return lambda _, *given, **more: getattr(inner, name)(*given, **more)

    methods = {name: forwarded(name) for name in RunStorage.__abstractmethods__}
    remote = type("RemoteRunStorage", (RunStorage,), methods)()
    remote.register_instance(instance)
    instance._run_storage = remote


@dataclass(frozen=True)
class Daemon:
    """Ticks of the daemon. It remembers nothing but what is in the instance."""

    context: WorkspaceProcessContext

    def look(self) -> None:
        """One look at all schedules and sensors that are due."""
        log, now = logging.getLogger("daemon"), get_current_datetime()
        list(launch_scheduled_runs(self.context, log, now, iteration_times={}))
        list(execute_sensor_iteration(self.context, log, None, None))


@contextmanager
def in_process_location(instance: dg.DagsterInstance, file: Path) -> Iterator[Daemon]:
    """The daemon of sensors and schedules, over the definitions of the file in this process."""
    target = InProcessTestWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(file)))
    )
    with create_test_daemon_workspace_context(target, instance) as context:
        yield Daemon(context)


def tick_every(seconds: int) -> None:
    """How often a daemon in this process looks for backfills; Dagster has no setting for it."""
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = seconds
