"""A Dagster project such as a user of `clip_assets.ImageCollection` has, and `dg dev` for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.dagster_api import Dagster
from tests.ports import free_port

PROJECT = Path(__file__).parents[2]
PACKAGE = "pictures"
_PYPROJECT = f"""
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{PACKAGE}"
"""
_DEFINITIONS = """
from functools import cache
from pathlib import Path

import dagster as dg


@dg.definitions
@cache
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
_WARM = "import tests.acceptance.warm\n"
_EXECUTOR = """
import dagster as dg

# A process for each asset and check would spend three CPU-seconds on imports.
executor = dg.Definitions(executor=dg.in_process_executor)
"""
# Daemons look soon, and a busy machine has time to start runs and to answer.
_OF_TESTS: dict[str, dict[str, Any]] = {
    "run_coordinator": {
        "module": "dagster",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    },
    "code_servers": {"local_startup_timeout": 600},
    "run_monitoring": {
        "start_timeout_seconds": 600,
        "poll_interval_seconds": 2,
        "free_slots_after_run_end_seconds": 1,
    },
}
_ENVIRONMENT_OF_TESTS = {
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "600",
    "DAGSTER_PROXY_SERVER_HEARTBEAT_TIMEOUT": "120",
    "FRESHNESS_DAEMON_INTERVAL_SECONDS": "3",
    "PYTHONPATH": str(PROJECT),  # for the program in _EAGER_DG
}
_EAGER_DG = [sys.executable, "-m", "tests.acceptance.eager_dagster", "dg"]
_STOP_SECONDS = 60


def write_project(folder: Path, *collections: dict[str, Any], warm: bool = False) -> Path:
    """A project with a defs.yaml for each collection; if `warm`, runs and jobs are forks."""
    package = folder / PACKAGE
    files = {
        folder / "pyproject.toml": _PYPROJECT,
        package / "__init__.py": _WARM if warm else "",
        package / "definitions.py": _DEFINITIONS,
        package / "defs" / "__init__.py": "",
        package / "defs" / "executor.py": _EXECUTOR,
    }
    for number, attributes in enumerate(collections):
        document = {"type": "clip_assets.ImageCollection", "attributes": attributes}
        name = f"of_{attributes['collection']}".lower()
        path = package / "defs" / name / "defs.yaml"
        if path in files:  # another model of the same collection
            path = package / "defs" / f"{name}_{number}" / "defs.yaml"
        files[path] = yaml.safe_dump(document, sort_keys=False)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return folder


def environment(
    home: Path, database: str, instance: str = "dagster.yaml", **more: str
) -> dict[str, str]:
    """An installation of its own: its data, its database, its Dagster storage."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load((PROJECT / instance).read_text())
    for section, values in _OF_TESTS.items():
        settings[section] = settings.get(section, {}) | values
    (dagster_home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **_ENVIRONMENT_OF_TESTS,
        **more,
        "CLIP_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "DATABASE_URL": database,
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
        "VIRTUAL_ENV": sys.prefix,
    }


@contextmanager
def dg_dev(project: Path, env: dict[str, str], log: Path) -> Iterator[Dagster]:
    """`dg dev` on a free loopback port, healthy on entry and gone on exit."""
    port = free_port()
    dagster = Dagster(f"http://127.0.0.1:{port}")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*_EAGER_DG, "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        dagster.wait(lambda: _is_up(process, dagster, log), "dg dev to come up")
        yield dagster
    finally:
        _stop(process)


def _is_up(process: "subprocess.Popen[bytes]", dagster: Dagster, log: Path) -> bool:
    assert process.poll() is None, f"dg dev ended by itself: {log.read_text()[-3000:]}"
    return dagster.is_healthy()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_SECONDS)
