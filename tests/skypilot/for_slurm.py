"""The task files of sky/ with the fields replaced that this cluster has nothing to match with.

Everything else of a file, its accelerators, spot before on-demand, sizes, environment, secrets and
commands, reaches SkyPilot as it stands.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]


def task_for_slurm(name: str, folder: Path) -> Path:
    """Writes sky/NAME.yaml with its replacements below `folder`; returns the file."""
    task = yaml.safe_load((PROJECT / "sky" / f"{name}.yaml").read_text())
    for replace in (_setup, _recovery, _ports):
        replace(task)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(task, sort_keys=False))
    return file


def _setup(task: dict[str, Any]) -> None:
    """Nothing can be installed without a network: the environment under test takes its place."""
    linked = f"ln -sfn {sys.prefix} ~/clip_assets"
    task["setup"], count = re.subn("bash clip_assets/node/install.sh .*", linked, task["setup"])
    assert count == 1


def _recovery(task: dict[str, Any]) -> None:
    """EAGER_NEXT_REGION leaves the region that preempted the job, and there is no other here."""
    if "job_recovery" in task["resources"]:
        task["resources"]["job_recovery"]["strategy"] = "FAILOVER"


def _ports(task: dict[str, Any]) -> None:
    """SkyPilot opens no ports on Slurm, so that `sky serve up` does not run there either."""
    task["resources"].pop("ports", None)
    task.pop("service", None)
