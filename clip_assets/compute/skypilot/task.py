"""Builds the SkyPilot task of one job from `sky/compute_vectors.yaml`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_assets.compute.skypilot.config import CHECKOUT, SkyPilotConfig
from clip_assets.errors import SettingsError

if TYPE_CHECKING:
    import sky

_MACHINE_KEYS = ("setup", "workdir", "file_mounts")
"""Keys that a pool's workers have already applied."""


def task_of(config: SkyPilotConfig, envs: Mapping[str, str]) -> "sky.Task":
    """The task with `envs` and secrets filled in; variables that are still null become empty.

    Raises SettingsError if the file is missing or SkyPilot cannot parse it.
    """
    import sky

    document = _document(config)
    given = {**dict.fromkeys(_unset(document, "envs"), ""), **envs}
    secrets = {name: os.environ[name] for name in config.secrets if os.environ.get(name)}
    secrets = {**dict.fromkeys(_unset(document, "secrets"), ""), **secrets}
    try:
        return sky.Task.from_yaml_config(
            document, env_overrides=list(given.items()), secrets_overrides=list(secrets.items())
        )
    except ValueError as error:
        raise SettingsError(f"SkyPilot cannot read {config.task}: {error}") from error


def _document(config: SkyPilotConfig) -> dict[str, Any]:
    try:
        document: dict[str, Any] = yaml.safe_load(Path(config.task).read_text())
    except OSError as error:
        raise SettingsError(f"Cannot read `sky.task` {config.task}: {error.strerror}.") from error
    resources = {**(document.get("resources") or {}), **config.resources}
    document["resources"] = {key: value for key, value in resources.items() if value is not None}
    if config.mounts:
        mounted = {
            path: {"source": source, "mode": "MOUNT"} for path, source in config.mounts.items()
        }
        document["file_mounts"] = {**(document.get("file_mounts") or {}), **mounted}
    if document.get("workdir") == ".":
        document["workdir"] = str(CHECKOUT)
    if config.pool:
        document = {key: value for key, value in document.items() if key not in _MACHINE_KEYS}
    return document


def _unset(document: dict[str, Any], block: str) -> list[str]:
    return [name for name, value in (document.get(block) or {}).items() if value is None]
