"""How fresh each asset is, as Dagster's own daemon judged it and its UI shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.freshness import FreshnessState

_DAEMON = "FRESHNESS"
_WORDS = {
    FreshnessState.PASS: "fresh",
    FreshnessState.WARN: "warning",
    FreshnessState.FAIL: "overdue",
}
_SILENT = timedelta(minutes=5)
_CHECKED = timedelta(hours=2)  # the check runs every hour
OLDEST_SHARD = "oldest_shard"


@dataclass(frozen=True)
class Freshness:
    """One asset, or its oldest shard: fresh, warning, overdue or unknown, and since when."""

    name: str
    state: str
    note: str


def freshness(instance: dg.DagsterInstance) -> list[Freshness]:
    """Every asset that was materialized, and below `embeddings` its oldest shard.

    All are unknown while no daemon runs: what it judged last may be long out of date.
    """
    keys = sorted(instance.get_asset_keys())
    states = instance.get_freshness_state_records(keys) if _daemon_beats(instance) else {}
    found: list[Freshness] = []
    for record in sorted(instance.get_asset_records(keys), key=lambda r: r.asset_entry.asset_key):
        entry = record.asset_entry
        if entry.last_materialization is None:
            continue
        made = datetime.fromtimestamp(entry.last_materialization.timestamp, UTC)
        state = states.get(entry.asset_key)
        word = _WORDS.get(state.freshness_state, "unknown") if state else "unknown"
        name = entry.asset_key.to_user_string()
        found.append(Freshness(name, word, f"made {made:%Y-%m-%d %H:%M} UTC"))
        found.extend(_oldest_shard(instance, entry.asset_key))
    return found


def _oldest_shard(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[Freshness]:
    """What the check of the oldest shard said last, where the asset has one."""
    check = dg.AssetCheckKey(key, OLDEST_SHARD)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    event = latest[check].event if check in latest else None
    result = event.asset_check_evaluation if event else None
    if event is None or result is None:  # never run, or under way
        return
    yield Freshness("  its oldest shard", _state(event.timestamp, result), result.description or "")


def _state(checked_at: float, result: AssetCheckEvaluation) -> str:
    if _seconds_since(checked_at) > _CHECKED.total_seconds():
        return "unknown"
    if result.passed:
        return "fresh"
    return "overdue" if result.severity == dg.AssetCheckSeverity.ERROR else "warning"


def _daemon_beats(instance: dg.DagsterInstance) -> bool:
    beat = next(
        (beat for name, beat in instance.get_daemon_heartbeats().items() if _DAEMON in name), None
    )
    return beat is not None and _seconds_since(beat.timestamp) < _SILENT.total_seconds()


def _seconds_since(timestamp: float) -> float:
    return datetime.now(UTC).timestamp() - timestamp
