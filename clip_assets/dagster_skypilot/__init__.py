"""Dagster Pipes on SkyPilot: run any SkyPilot task as a managed job from a Dagster asset or op.

The public interface is what this module names, `jobs`, and `messages`, which the job itself
imports. Names load when they are used, because a job's machine has neither Dagster nor SkyPilot.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import PipesSkyPilotClient as PipesSkyPilotClient
    from .failures import SkyPilotError as SkyPilotError
    from .failures import SkyPilotJobError as SkyPilotJobError
    from .failures import SkyPilotUnreachableError as SkyPilotUnreachableError
    from .job import JOB_TAG as JOB_TAG
    from .job import PipesSkyPilotJob as PipesSkyPilotJob
    from .machine import Machine as Machine
    from .messages import PipesObjectStoreMessageWriter as PipesObjectStoreMessageWriter
    from .orphans import build_skypilot_orphans_sensor as build_skypilot_orphans_sensor
    from .reader import PipesObjectStoreMessageReader as PipesObjectStoreMessageReader

_MODULES = {
    "PipesSkyPilotClient": "client",
    "SkyPilotError": "failures",
    "SkyPilotJobError": "failures",
    "SkyPilotUnreachableError": "failures",
    "JOB_TAG": "job",
    "PipesSkyPilotJob": "job",
    "Machine": "machine",
    "PipesObjectStoreMessageWriter": "messages",
    "build_skypilot_orphans_sensor": "orphans",
    "PipesObjectStoreMessageReader": "reader",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
