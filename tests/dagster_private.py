"""What the tests use of Dagster's internals: the clock of its log, its storage, its daemon."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from dagster._cli import dev
from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster._core.storage.runs import RunStorage
from dagster._core.test_utils import freeze_time
from dagster._daemon import controller
from dagster._daemon.cli import main as daemon

__all__ = [
    "daemon",
    "freeze_time",
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


def tick_every(seconds: int) -> None:
    """How often a daemon in this process looks for backfills; Dagster has no setting for it."""
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = seconds
