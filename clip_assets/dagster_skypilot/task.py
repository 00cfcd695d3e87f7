"""Builds the SkyPilot task of one job from a task file, its parsed content, or a `sky.Task`."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import yaml

from .failures import SkyPilotError

if TYPE_CHECKING:
    import sky

AnyTask = Union["sky.Task", Mapping[str, Any], str, Path]
"""A task file, its parsed content, or SkyPilot's own object."""

_MACHINE_KEYS = ("setup", "workdir", "file_mounts")
"""Keys that a pool's workers have already applied."""


def build(
    task: AnyTask,
    *,
    envs: Mapping[str, str],
    secrets: Mapping[str, str],
    pool: str | None,
) -> "sky.Task":
    """The task with `envs` and `secrets`; without setup, workdir and mounts if it is for a pool.

    Raises SkyPilotError if the file cannot be read, or SkyPilot cannot parse it.
    """
    import sky

    if isinstance(task, sky.Task):
        return task.update_envs(dict(envs)).update_secrets(dict(secrets))
    document = _document(task)
    if pool:
        document = {key: value for key, value in document.items() if key not in _MACHINE_KEYS}
    try:
        return sky.Task.from_yaml_config(
            document, env_overrides=list(envs.items()), secrets_overrides=list(secrets.items())
        )
    except ValueError as error:
        where = task if isinstance(task, str | Path) else f"task `{task.get('name', '')}`"
        raise SkyPilotError(
            f"SkyPilot cannot read {where}: {error}", allow_retries=False
        ) from error


def _document(task: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """A copy, because SkyPilot changes what it parses."""
    if isinstance(task, Mapping):
        return deepcopy(dict(task))
    try:
        document: dict[str, Any] = yaml.safe_load(Path(task).expanduser().read_text())
    except OSError as error:
        raise SkyPilotError(
            f"Cannot read the task file {task}: {error.strerror}.", allow_retries=False
        ) from error
    return document
