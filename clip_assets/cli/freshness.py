"""Freshness of each asset, as Dagster's daemon judges it and the UI shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from clip_assets.dagster_private import (
    FreshnessState,
    daemon_heartbeats,
    freshness_states,
    latest_check,
)

_DAEMON = "FRESHNESS"
_WORDS = {
    FreshnessState.PASS: "fresh",
    FreshnessState.WARN: "warning",
    FreshnessState.FAIL: "overdue",
}
_SILENT = timedelta(minutes=5)
_CHECKED = timedelta(hours=36)  # the check runs once a day
OLDEST_SHARD = "oldest_shard"


@dataclass(frozen=True)
class Freshness:
    """One asset, or its oldest shard: fresh, warning, overdue or unknown, and since when."""

    name: str
    state: str
    note: str


def freshness(instance: dg.DagsterInstance) -> list[Freshness]:
    """Every materialized asset, and the oldest shard below `embeddings`.

    All are unknown while no daemon runs, because the stored states may be out of date.
    """
    keys = sorted(instance.get_asset_keys())
    states = freshness_states(instance, keys) if _daemon_beats(instance) else {}
    found: list[Freshness] = []
    for record in sorted(instance.get_asset_records(keys), key=lambda r: r.asset_entry.asset_key):
        entry = record.asset_entry
        if entry.last_materialization is None or entry.asset_key.path[-1] == "live":
            continue  # no asset materializes `live`; it is as old as the newest release
        made = datetime.fromtimestamp(entry.last_materialization.timestamp, UTC)
        state = states.get(entry.asset_key, FreshnessState.UNKNOWN)
        word = _WORDS.get(state, "unknown")
        name = entry.asset_key.to_user_string()
        found.append(Freshness(name, word, f"materialized {made:%Y-%m-%d %H:%M} UTC"))
        found.extend(_oldest_shard(instance, entry.asset_key))
    return found


def _oldest_shard(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[Freshness]:
    """The latest result of the oldest-shard check, if the asset has that check."""
    latest = latest_check(instance, dg.AssetCheckKey(key, OLDEST_SHARD))
    if latest is not None:
        checked_at, result = latest
        note = result.description or ""
        yield Freshness("  its oldest shard", _state(checked_at, result), note)


def _state(checked_at: float, result: dg.AssetCheckEvaluation) -> str:
    if _seconds_since(checked_at) > _CHECKED.total_seconds():
        return "unknown"
    if result.passed:
        return "fresh"
    return "overdue" if result.severity == dg.AssetCheckSeverity.ERROR else "warning"


def _daemon_beats(instance: dg.DagsterInstance) -> bool:
    beats = [beat for name, beat in daemon_heartbeats(instance).items() if _DAEMON in name]
    return any(_seconds_since(beat) < _SILENT.total_seconds() for beat in beats)


def _seconds_since(timestamp: float) -> float:
    return datetime.now(UTC).timestamp() - timestamp
