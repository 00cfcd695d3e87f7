"""The SkyPilot task of a collection's jobs, from the task file and the `sky:` block."""

import os
from pathlib import Path
from typing import Any

import yaml

from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.workdir import workdir
from clip_assets.errors import SettingsError
from clip_assets.settings import Settings


def document(config: SkyPilotConfig) -> dict[str, Any]:
    """The task file's content with the `sky:` block applied; variables that are null are empty.

    Raises SettingsError if the file cannot be read.
    """
    try:
        task: dict[str, Any] = yaml.safe_load(Path(config.task).read_text())
    except OSError as error:
        raise SettingsError(f"Cannot read `sky.task` {config.task}: {error.strerror}.") from error
    resources = {**(task.get("resources") or {}), **config.resources}
    task["resources"] = {key: value for key, value in resources.items() if value is not None}
    if config.mounts:
        mounted = {
            path: {"source": bucket, "mode": "MOUNT"} if isinstance(bucket, str) else bucket
            for path, bucket in config.mounts.items()
        }
        task["file_mounts"] = {**(task.get("file_mounts") or {}), **mounted}
    if task.get("workdir") == ".":
        task["workdir"] = str(workdir(Settings().workplace / "sky"))
    for block in ("envs", "secrets"):
        # The job file replaces these values; SkyPilot refuses a variable without a value.
        given = task.get(block) or {}
        task[block] = {name: "" if value is None else value for name, value in given.items()}
    return task


def secrets(config: SkyPilotConfig) -> dict[str, str]:
    """The variables of `sky.secrets` that are set in this environment, with their values."""
    return {name: os.environ[name] for name in config.secrets if os.environ.get(name)}
