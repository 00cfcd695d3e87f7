"""Delete old runs with their events and logs, which Dagster keeps forever.

A run that made the newest materialization of an asset or partition is kept, however old it is;
otherwise Dagster would show that materialization as missing.
"""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from clip_assets.dagster_private import delete_run, newest_materializations

_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_PAGE = 200

COLLECTION_TAG = "clip_assets/collection"
"""Tag of runs and assets with the name of their collection."""


def prune(instance: dg.DagsterInstance, collection: str, before: datetime) -> int:
    """Delete the runs of the collection's assets that ended before; returns how many."""
    needed = _needed(instance, collection)
    gone = [run_id for run_id in _ended(instance, collection, before) if run_id not in needed]
    for run_id in gone:
        delete_run(instance, run_id)
    return len(gone)


def _ended(instance: dg.DagsterInstance, collection: str, before: datetime) -> Iterator[str]:
    chosen = dg.RunsFilter(statuses=_ENDED, updated_before=before)
    cursor = None
    while runs := instance.get_runs(chosen, cursor=cursor, limit=_PAGE):
        yield from (run.run_id for run in runs if _is_of(run, collection))
        cursor = runs[-1].run_id


def _is_of(run: dg.DagsterRun, collection: str) -> bool:
    """Whether the run concerned only this collection; a run of a whole job has only its tags."""
    if run.asset_selection:
        return all(key.path[0] == collection for key in run.asset_selection)
    return run.tags.get(COLLECTION_TAG) == collection


def _needed(instance: dg.DagsterInstance, collection: str) -> set[str]:
    """Ids of the runs that made the newest materialization of an asset or of a partition."""
    found = set()
    for key in instance.get_asset_keys(prefix=[collection]):
        event = instance.get_latest_materialization_event(key)
        if event:
            found.add(event.run_id)
        newest = list(newest_materializations(instance, key).values())
        for start in range(0, len(newest), _PAGE):
            chosen = dg.AssetRecordsFilter(key, storage_ids=newest[start : start + _PAGE])
            records = instance.fetch_materializations(chosen, limit=_PAGE).records
            found.update(record.run_id for record in records)
    return found
