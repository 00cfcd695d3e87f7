"""Every use of Dagster's internals, in one file: review it when you upgrade Dagster.

Each function says which public API would make it unnecessary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition as AssetJob,
)
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTOMATION_CONDITION_TAG,
    MAX_RETRIES_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
)
from dagster._utils.schedules import is_valid_cron_schedule
from dagster.components.core.component_tree import ComponentTreeException

__all__ = [
    "AssetJob",
    "CheckRunHealthResult",
    "ComponentTreeException",
    "FreshnessState",
    "LocalRun",
    "PoolClaims",
    "WorkerStatus",
    "begin_cancel",
    "checks_of",
    "close_as_canceled",
    "close_as_failed",
    "create_run",
    "daemon_heartbeats",
    "delete_run",
    "forget_collection",
    "free_slots",
    "freshness_states",
    "is_automated",
    "is_canceling",
    "is_cron",
    "latest_check",
    "never_retried_tags",
    "newest_materializations",
    "partition_range_tags",
    "pool_claims",
    "requested_backfills",
    "retried_tags",
    "runs_with_slots",
    "unfinished_runs_of",
]

_LOGGERS = {"console": dg.colored_console_logger}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def partition_range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run materialize all partitions from `first` to `last`.

    Needed until `dg.RunRequest` takes a range of partitions; it takes one key.
    """
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def is_cron(text: str) -> bool:
    """Whether Dagster accepts the text as a cron schedule. Needed until the check is public."""
    return is_valid_cron_schedule(text)


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
    """The freshness daemon's latest state of each asset that has one.

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


def checks_of(repository: dg.RepositoryDefinition, collection: str) -> list[dg.AssetCheckKey]:
    """The checks of a collection's assets.

    Needed until a code location's asset graph is public.
    """
    keys = repository.asset_graph.asset_check_keys
    return sorted(key for key in keys if key.asset_key.path[0] == collection)


def daemon_heartbeats(instance: dg.DagsterInstance) -> dict[str, float]:
    """When each daemon was last alive, in seconds since the epoch, by the daemon's type.

    Needed until a public Python API returns the daemon health shown in the UI.
    """
    beats = instance.get_daemon_heartbeats()
    return {name: beat.timestamp for name, beat in beats.items()}


def create_run(  # noqa: PLR0913
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    asset: dg.AssetKey,
    run_id: str,
    *,
    location: str,
    tags: Mapping[str, str],
    job_name: str | None = None,
    config: Mapping[str, object] = MappingProxyType({}),
) -> "LocalRun":
    """Record a run of one asset and its checks, as the UI would launch it.

    `location` is the name of the code location, `job_name` that of a job of the asset, which the
    runs list shows instead of the asset's key; `config` is the asset's run config. Executor and
    loggers of the definitions are not used: Dagster's default executor starts processes, which
    cannot load a job that is only in memory.
    Needed until `dg.materialize` takes definitions, with their checks and resources, and the code
    location that its run belongs to.
    """
    found = (
        defs.resolve_job_def(job_name)
        if job_name
        else defs.resolve_implicit_job_def_def_for_assets([asset])
    )
    assert found is not None, "every asset has its implicit job"
    job = found.with_executor_def(dg.in_process_executor).with_logger_defs(_LOGGERS)
    code = RegisteredCodeLocationOrigin(location)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(code, SINGLETON_REPOSITORY_NAME), job.name)
    run = instance.create_run_for_job(
        job.get_subset(asset_selection={asset}),
        run_id=run_id,
        run_config={
            **_QUIET,
            **({"ops": {asset.to_python_identifier(): {"config": {**config}}}} if config else {}),
        },
        tags=tags,
        asset_selection={asset},
        remote_job_origin=origin,
    )
    return LocalRun(instance, job, run)


@dataclass(frozen=True)
class LocalRun:
    """A recorded run that this process executes. Needed for the reason given in `create_run`."""

    instance: dg.DagsterInstance
    job: dg.JobDefinition
    run: dg.DagsterRun

    def execute(self) -> list[dg.DagsterEvent]:
        """Execute the run to its end; returns its events, even if it fails."""
        return list(execute_run_iterator(InMemoryJob(self.job), self.run, self.instance))


def never_retried_tags() -> dict[str, str]:
    """Tags that exempt one run from the instance's `run_retries`.

    Needed until the names of these documented tags can be imported.
    """
    return {MAX_RETRIES_TAG: "0"}


def retried_tags() -> dict[str, str]:
    """Tags by which `run_retries` also applies to a run that fails in an asset.

    Needed until the names of these documented tags can be imported.
    """
    return {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}


def is_canceling(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a user cancelled the run, which is not over yet.

    Needed until a context says why its run was interrupted.
    """
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in (
        dg.DagsterRunStatus.CANCELING,
        dg.DagsterRunStatus.CANCELED,
    )


def begin_cancel(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Record that a user cancels the run; when it then stops, Dagster marks it as canceled.

    Needed until an instance can publicly cancel a run that no launcher started.
    """
    instance.report_run_canceling(run)


def close_as_canceled(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark a run that did not stop in time as canceled. Needed like `begin_cancel`."""
    instance.report_run_canceled(run)


def close_as_failed(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Mark a run as failed that can no longer do so itself. Needed like `begin_cancel`."""
    instance.report_run_failed(run, why)


@dataclass(frozen=True)
class PoolClaims:
    """Ids of the runs that hold slots of a pool, and of those that wait for one."""

    holding: tuple[str, ...]
    waiting: frozenset[str]


def pool_claims(instance: dg.DagsterInstance, pool: str) -> PoolClaims:
    """Needed until a public API returns what the UI shows under Deployment -> Concurrency."""
    info = instance.event_log_storage.get_concurrency_info(pool)
    return PoolClaims(
        tuple(sorted(info.active_run_ids | info.assigned_run_ids)), frozenset(info.pending_run_ids)
    )


def runs_with_slots(instance: dg.DagsterInstance) -> set[str]:
    """Ids of all runs that hold or await a slot of any pool. Needed like `pool_claims`."""
    return instance.event_log_storage.get_concurrency_run_ids()


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """What `Free concurrency slots` in the UI does. Needed like `pool_claims`."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete an ended run with its events and logs.

    Needed until deleting a run also deletes its logs, and its file if Dagster's storage is sqlite.
    """
    storage = instance.event_log_storage
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    if isinstance(storage, SqliteEventLogStorage):
        Path(storage.path_for_shard(run_id)).unlink(missing_ok=True)


def forget_collection(instance: dg.DagsterInstance, collection: str, partitions: str) -> None:
    """Wipe the events of the collection's assets, and delete its partitions.

    Needed until what *Wipe materializations* in the UI does is public in Python.
    """
    keys = instance.get_asset_keys(prefix=[collection])
    if keys:
        instance.wipe_assets(keys)
    for key in instance.get_dynamic_partitions(partitions):
        instance.delete_dynamic_partition(partitions, key)


def unfinished_runs_of(instance: dg.DagsterInstance, collection: str) -> list[str]:
    """Ids of unfinished runs on the collection's assets, also of queued ones."""
    unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)
    return [
        run.run_id
        for run in instance.get_runs(unfinished)
        if any(key.path[0] == collection for key in run.asset_selection or ())
    ]
