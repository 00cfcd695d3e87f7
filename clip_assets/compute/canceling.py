"""Notices that a run is being cancelled, even if the signal was lost."""

import time

import dagster as dg

from clip_assets.dagster_private import is_canceling

_SECONDS = 3.0


class Canceling:
    """Asks Dagster every few seconds.

    Python ignores exceptions that a signal handler raises inside a destructor or a weakref
    callback; without this, the run would go on.
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
