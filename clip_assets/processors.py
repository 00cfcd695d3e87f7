"""How many processors this process may use, which is often fewer than the machine has.

Libraries start a thread for each processor of the machine. In a container with a quota of one
processor on a machine with sixteen, those threads spend most of the quota waiting for each other.
"""

import os
from pathlib import Path

_SYSTEM = Path("/")


def available(system: Path = _SYSTEM) -> int:
    """The number of processors that the affinity mask and cgroup quotas allow, at least 1."""
    return max(1, min([_in_mask(), *_quotas(system)]))


def limit_threads(threads: int | None = None) -> None:
    """Let torch and numpy use this many threads, by default one per available processor, and let
    waiting threads sleep. Call this before importing them. Variables that are already set stay."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads or available()))
    # By default, OpenMP threads spin while they wait for others: on two busy cores, embedding took
    # one and a half times the processor time and three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _in_mask() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # not Linux


def _quotas(system: Path) -> list[int]:
    """Whole processors in the quota of each cgroup of this process that has one."""
    groups = system / "sys/fs/cgroup"
    found = []
    for line in _lines(system / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            read, top = _quota, groups
        elif "cpu" in controllers.split(","):
            read, top = _quota_of_version_1, groups / controllers
        else:
            continue
        # In a container, the path may be the host's; then only the top group exists.
        group = top / path.lstrip("/")
        found += [
            read(folder) for folder in (group, *group.parents) if top in (folder, *folder.parents)
        ]
    return [int(processors) for processors in found if processors]


def _quota(group: Path) -> float | None:
    """From a line such as `150000 100000`, or `max 100000` without a quota."""
    for line in _lines(group / "cpu.max"):
        quota, period = line.split()
        return None if quota == "max" else int(quota) / int(period)
    return None


def _quota_of_version_1(group: Path) -> float | None:
    quota = "".join(_lines(group / "cpu.cfs_quota_us"))
    period = "".join(_lines(group / "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # no such control group, or not Linux
        return []
