"""Alerts report each failure once, and again when it comes back."""

import dagster as dg
import pytest

from clip_assets.automation.alerts import alert_sensor


class Quality:
    passed = False


@dg.asset(key=["photos", "search_index"])
def search_index() -> None: ...


@dg.asset_check(asset=search_index, blocking=True)
def recall_reached() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=Quality.passed, description="recall@10 is 0.91, not 0.95")


def test_a_blocked_release_is_told_once_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert has the check's description; after the check passed, a new failure is reported."""
    told: list[str] = []
    defs = dg.Definitions([search_index], asset_checks=[recall_reached])
    sensor = alert_sensor("photos", told.extend)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None

        def look() -> list[str]:
            nonlocal cursor
            told.clear()
            context = dg.build_sensor_context(instance, cursor, definitions=defs)
            cursor = sensor.evaluate_tick(context).cursor
            return [*told]

        def materialize(passed: bool) -> None:
            monkeypatch.setattr(Quality, "passed", passed)
            dg.materialize([search_index, recall_reached], instance=instance, raise_on_error=False)

        assert look() == []
        materialize(passed=False)
        assert look() == [
            "photos/search_index: check recall_reached failed and blocks downstream assets. "
            "recall@10 is 0.91, not 0.95"
        ]
        assert look() == []
        materialize(passed=True)
        assert look() == []
        materialize(passed=False)
        assert len(look()) == 1
