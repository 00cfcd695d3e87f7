"""The memory and processors of the machine that Postgres runs on, for sizing a build."""

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psycopg

from clip_assets.processors import available

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """`memory` is in bytes, free to use."""

    memory: int
    processors: int


def machine_of(connection: psycopg.Connection) -> Machine | None:
    """This machine if Postgres runs on it; otherwise None."""
    return here() if runs_here(connection.info.host) else None


def here() -> Machine:
    return Machine(
        memory=min(_available(), _left_in_cgroup()),
        processors=available(),
    )


def runs_here(host: str) -> bool:
    """Whether a server at this address is on this machine."""
    if host.startswith("/") or host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _available() -> int:
    """Memory available without swapping, including caches that the kernel can free."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _left_in_cgroup() -> int:
    """Memory left under the container's limit; a huge number without a limit."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        return limit - int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return 1 << 62
