"""Reports what a run is waiting for if it needs a pool slot."""

import time
from collections.abc import Callable

import dagster as dg

from clip_assets.dagster_private import pool_claims
from clip_assets.runs import abandoned

_EVERY_SECONDS = 2.0


class SlotWatch:
    """Reports which runs hold the slots that a run waits for, and frees slots of ended runs."""

    def __init__(
        self, instance: dg.DagsterInstance, pool: str, run_id: str, say: Callable[[str], None]
    ) -> None:
        self._instance, self._pool, self._run_id, self._say = instance, pool, run_id, say
        self._looked = 0.0
        self._said = ""

    def look(self) -> None:
        """Check the slots. Cheap enough to call often: it asks the storage every two seconds."""
        if time.monotonic() - self._looked < _EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        claims = pool_claims(self._instance, self._pool)
        if self._run_id not in claims.waiting:
            return
        for sentence in abandoned.clear(self._instance):
            self._say(sentence)
        held = " and ".join(self._named(run_id) for run_id in claims.holding)
        if held and held != self._said:
            self._said = held
            self._say(f"Waiting for a slot of pool `{self._pool}`, which {held} holds.")

    def _named(self, run_id: str) -> str:
        run = self._instance.get_run_by_id(run_id)
        keys = sorted(key.to_user_string() for key in (run and run.asset_selection) or ())
        return f"run {run_id[:8]} of {', '.join(keys)}" if keys else f"run {run_id[:8]}"
