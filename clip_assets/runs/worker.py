"""Which process executes a run: noted in a tag, so that others can tell whether it is alive."""

import socket
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil

WORKER_TAG = ".dagster/clip_assets_worker"
"""Run tag: id of the run, host, process id and start time of the process that executes it.

The id, because Dagster copies the tags of a run to its retries and re-executions. The UI does not
list tags with this prefix.
"""


def tags(run_id: str) -> dict[str, str]:
    """The tag that names this process as the one that executes the run."""
    own = psutil.Process()
    return {WORKER_TAG: f"{run_id} {_host()} {own.pid} {started(own)}"}


def started(process: psutil.Process) -> str:
    """When the process started, the same for all of its life: setting the clock changes the time
    of day at which Linux says that it did, and that of the machine's own start with it."""
    since = psutil.boot_time() if psutil.LINUX else 0.0
    return f"+{process.create_time() - since:.2f}"


def is_gone(run: dg.DagsterRun) -> bool:
    """Whether the run's process has ended; False if it runs on another host or named none."""
    match run.tags.get(WORKER_TAG, "").split(" "):
        # Without the sign it is of an older version, which noted another time.
        case [run.run_id, host, pid, start] if host == _host() and start.startswith("+"):
            return not _is_alive(int(pid), start)
    return False


def _is_alive(pid: int, start: str) -> bool:
    try:
        found = psutil.Process(pid)
        same = started(found) == start  # process ids are used again
        # A zombie was killed, and its parent has not looked yet.
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _host() -> str:
    """The host's name, and the container's namespace of process ids where there is one."""
    namespace = ""
    with suppress(OSError):  # not on Linux
        namespace = f":{Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{socket.gethostname()}{namespace}"
