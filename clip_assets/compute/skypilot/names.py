"""Names of managed jobs: `clip-INSTANCE-COLLECTION-BATCH-RUN-ATTEMPT`.

The name is the only tag that every cloud, and Slurm, supports. It says which Dagster instance and
run a job belongs to, so that a job can be found again and other people's jobs are never touched.
"""

import hashlib

import dagster as dg

from clip_assets.dagster_private import run_storage_id
from clip_assets.errors import SettingsError


def of_instance(instance: dg.DagsterInstance) -> str:
    """Prefix of the names of all jobs of this Dagster instance, and of no other instance."""
    storage_id = run_storage_id(instance)
    if storage_id is None:
        raise SettingsError(
            "Embedding on SkyPilot needs Dagster's run storage in sqlite or Postgres, because its "
            f"id is part of the job names; this instance has {type(instance.run_storage).__name__}."
        )
    return f"clip-{hashlib.sha256(storage_id.encode()).hexdigest()[:8]}-"


def of_collection(instance: dg.DagsterInstance, collection: str) -> str:
    return f"{of_instance(instance)}{collection}-"


def run_of(name: str) -> str:
    """The first eight characters of the id of the run that launched the job."""
    return name.split("-")[-2]
