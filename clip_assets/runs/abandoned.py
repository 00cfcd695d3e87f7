"""Close runs whose process was killed, and free the pool slots that ended runs still hold."""

from collections.abc import Iterator

import dagster as dg

from clip_assets.dagster_private import (
    close_as_failed,
    free_slots,
    runs_with_slots,
)
from clip_assets.runs import worker

_IN_PROGRESS = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def clear(instance: dg.DagsterInstance) -> Iterator[str]:
    """Do both, and yield a sentence about each run.

    Dagster's daemon does the same within a minute, if one is running.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS)):
        if worker.is_gone(run):
            close_as_failed(instance, run, "The process of this run was killed.")
            yield f"Run {run.run_id[:8]} was killed; it is now marked as failed."
    for run_id in runs_with_slots(instance):
        ended = instance.get_run_by_id(run_id)
        if ended is None or ended.is_finished:
            free_slots(instance, run_id)
            yield f"Run {run_id[:8]} had ended but still held a pool slot; the slot is free now."
