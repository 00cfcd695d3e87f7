"""Dagster's default run launcher, which also notices runs whose process was killed.

`dagster.yaml` names it. Run monitoring asks it about each started run, and marks runs whose process
is gone as failed, so that they neither fill the queue nor keep a pool slot.
"""

import dagster as dg

from clip_assets.dagster_private import CheckRunHealthResult, WorkerStatus
from clip_assets.runs import worker


class RunLauncher(dg.DefaultRunLauncher):
    """Launches runs like Dagster's default launcher."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if worker.is_gone(run):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)
