"""The `sky:` block of a collection: how its embedding jobs run on SkyPilot."""

from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from clip_assets.compute.skypilot.workdir import TASKS

_SECRETS = (
    "HF_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
)


class SkyPilotConfig(BaseModel, dg.Resolvable):
    """How SkyPilot runs a collection's embedding jobs.

    `resources` overrides those of the task file, key by key; null removes a key. `pool` sends
    jobs to a running `sky jobs pool` instead of to new machines. `secrets` names environment
    variables; those that are set are passed as SkyPilot secrets. `mounts` maps paths in the job to
    buckets, for images that can only be read through a mount: an address, or SkyPilot's own fields
    such as `name`, `store` and `mode`. A job that loses its machine more than `max_recoveries`
    times is cancelled, and so is a job older than `orphan_minutes` that no run waits for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = str(TASKS / "compute_vectors.yaml")
    resources: dict[str, Any] = Field(default_factory=dict)
    pool: str | None = None
    secrets: list[str] = list(_SECRETS)
    mounts: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    max_recoveries: int = Field(20, ge=0)
    orphan_minutes: float = Field(15, ge=0)
