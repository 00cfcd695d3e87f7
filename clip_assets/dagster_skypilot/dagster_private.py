"""What this package needs of Dagster that Dagster does not promise to keep."""

import dagster as dg
from dagster._core.definitions.resource_annotation import TreatAsResourceParam
from dagster._core.storage.runs import SqlRunStorage

__all__ = ["TreatAsResourceParam", "run_storage_id"]


def run_storage_id(instance: dg.DagsterInstance) -> str | None:
    """The id that Dagster gives its own run storage, or None if the storage is not a database.

    Needed until an instance has a public id.
    """
    storage = instance.run_storage
    return storage.get_run_storage_id() if isinstance(storage, SqlRunStorage) else None
