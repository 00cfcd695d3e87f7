"""A sensor that reports failed checks and overdue assets to a function that sends messages."""

import json
from collections.abc import Callable, Sequence

import dagster as dg

from clip_assets.dagster_private import FreshnessState, checks_of, freshness_states, latest_check


def alert_sensor(
    collection: str, send: Callable[[Sequence[str]], None], every_seconds: int = 300
) -> dg.SensorDefinition:
    """Calls `send` with a sentence for each newly failed check and overdue asset.

    Each is reported once while it lasts. If `send` raises, the tick fails and the next one reports
    the same again.
    """

    @dg.sensor(
        name=f"{collection}_alerts",
        minimum_interval_seconds=every_seconds,
        description=f"Reports failed checks and overdue assets of {collection}.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None, "a sensor is evaluated in its code location"
        checks = checks_of(context.repository_def, collection)
        found = troubles(context.instance, collection, checks)
        before = json.loads(context.cursor or "[]")
        fresh = [sentence for name, sentence in found.items() if name not in before]
        if fresh:
            send(fresh)
        counts = f"{len(fresh)} new, {len(found)} in all"
        return dg.SensorResult(skip_reason=counts, cursor=json.dumps(sorted(found)))

    return alerts


def troubles(
    instance: dg.DagsterInstance, collection: str, checks: Sequence[dg.AssetCheckKey]
) -> dict[str, str]:
    """A sentence for each failed check and overdue asset, by a key that stays while it lasts."""
    keys = sorted(instance.get_asset_keys(prefix=[collection]))
    found = {}
    for check in checks:
        latest = latest_check(instance, check)
        if latest and not latest[1].passed:
            kind = "warns" if latest[1].severity == dg.AssetCheckSeverity.WARN else "failed"
            blocks = " and blocks downstream assets" if latest[1].blocking else ""
            found[f"{check.asset_key.to_user_string()}:{check.name} {kind}"] = (
                f"{check.asset_key.to_user_string()}: check {check.name} {kind}{blocks}. "
                f"{latest[1].description or ''}".strip()
            )
    for key, state in freshness_states(instance, keys).items():
        if state == FreshnessState.FAIL:
            name = key.to_user_string()
            found[f"{name} overdue"] = f"{name} is overdue: it was not materialized in time."
    return found
