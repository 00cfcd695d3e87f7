"""Notices that a run is being cancelled, even if the signal that says so got lost."""

import time

import dagster as dg

from clip_assets.dagster_private import is_canceling

_SECONDS = 3.0


class Canceling:
    """Asks Dagster now and then.

    Python ignores what a signal handler raises within a destructor or a weakref's callback; the run
    would go on to its end.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._instance, self._run_id = context.instance, context.run.run_id
        self._looked = float("-inf")

    def look(self) -> None:
        """Raises DagsterExecutionInterruptedError if a user cancels the run."""
        now = time.monotonic()
        if now - self._looked < _SECONDS:
            return
        self._looked = now
        if is_canceling(self._instance, self._run_id):
            raise dg.DagsterExecutionInterruptedError
