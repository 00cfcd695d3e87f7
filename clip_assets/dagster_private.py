"""Every use of Dagster's internals, in one file: review it when you upgrade Dagster.

Each function says which public API would make it unnecessary.
"""

from collections.abc import Iterator, Sequence

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTOMATION_CONDITION_TAG,
)

__all__ = [
    "FreshnessState",
    "daemon_heartbeats",
    "freshness_states",
    "implicit_job",
    "is_automated",
    "latest_check",
    "newest_materializations",
    "partition_range_tags",
    "requested_backfills",
    "run_storage_id",
]


def partition_range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run materialize all partitions from `first` to `last`.

    Needed until `dg.RunRequest` takes a range of partitions; it takes one key.
    """
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def is_automated(run: dg.DagsterRun) -> bool:
    """Whether an automation condition requested the run.

    Needed until a run has a public attribute for what launched it.
    """
    return AUTOMATION_CONDITION_TAG in run.tags


def requested_backfills(instance: dg.DagsterInstance) -> Iterator[tuple[str, set[dg.AssetKey]]]:
    """Id and assets of each backfill in progress.

    Needed until the filter for backfills is public. `instance.get_runs` is no substitute: a
    backfill may have no run at the moment.
    """
    requested = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    for backfill in instance.get_backfills(requested):
        yield backfill.backfill_id, set(backfill.asset_selection or ())


def run_storage_id(instance: dg.DagsterInstance) -> str | None:
    """The id that Dagster gives its own run storage, or None if the storage is not a database.

    Needed until an instance has a public id.
    """
    storage = instance.run_storage
    return storage.get_run_storage_id() if isinstance(storage, SqlRunStorage) else None


def newest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: set[str] | None = None
) -> dict[str, int]:
    """Number of each partition's newest materialization in the event log, by partition key.

    Needed until a public API returns the newest event of many partitions;
    `instance.fetch_materializations` would read every event.
    """
    kind = DagsterEventType.ASSET_MATERIALIZATION
    return dict(instance.get_latest_storage_id_by_partition(asset, kind, partitions))


def freshness_states(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, FreshnessState]:
    """The freshness daemon's latest state of each asset; assets without a state are left out.

    Needed until a public Python API returns the freshness shown in the UI.
    """
    records = instance.get_freshness_state_records(assets)
    return {key: record.freshness_state for key, record in records.items()}


def latest_check(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey
) -> tuple[float, dg.AssetCheckEvaluation] | None:
    """When the check was last evaluated, in seconds since the epoch, and its result.

    None if it never ran or is running. Needed until evaluations of checks can be queried publicly.
    """
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    event = latest[check].event if check in latest else None
    result = event.asset_check_evaluation if event else None
    return (event.timestamp, result) if event and result else None


def daemon_heartbeats(instance: dg.DagsterInstance) -> dict[str, float]:
    """When each daemon was last alive, in seconds since the epoch, by the daemon's type.

    Needed until a public Python API returns the daemon health shown in the UI.
    """
    beats = instance.get_daemon_heartbeats()
    return {name: beat.timestamp for name, beat in beats.items()}


def implicit_job(defs: dg.Definitions, asset: dg.AssetKey) -> dg.JobDefinition:
    """The implicit job that Dagster creates for one asset and its checks.

    Needed until `dg.materialize` takes definitions, with their checks, resources and executor.
    """
    job = defs.resolve_implicit_job_def_def_for_assets([asset])
    assert job is not None, "every asset has its implicit job"
    return job
