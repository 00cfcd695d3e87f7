"""Names of managed jobs: `clip-INSTANCE-COLLECTION-BATCH-RUN-ATTEMPT`.

The name is the tag that every cloud, Slurm included, carries. It says which Dagster instance and
which run a job belongs to, so a job can be found again, and a stranger's is never touched.
"""

import hashlib

import dagster as dg

from clip_assets.dagster_private import run_storage_id
from clip_assets.errors import SettingsError


def of_instance(instance: dg.DagsterInstance) -> str:
    """What the names of all jobs of this Dagster instance begin with, and of no other's."""
    storage_id = run_storage_id(instance)
    if storage_id is None:
        raise SettingsError(
            "Embedding on SkyPilot needs Dagster's run storage in sqlite or Postgres, whose id "
            f"names the jobs; this instance has {type(instance.run_storage).__name__}."
        )
    return f"clip-{hashlib.sha256(storage_id.encode()).hexdigest()[:8]}-"


def of_collection(instance: dg.DagsterInstance, collection: str) -> str:
    return f"{of_instance(instance)}{collection}-"


def run_of(name: str) -> str:
    """The first eight characters of the id of the run that launched it."""
    return name.split("-")[-2]
