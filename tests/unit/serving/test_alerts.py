"""Each alert rule fires in the state that it is about, and in no healthy one.

The expressions are evaluated on two scrapes of real metrics, five minutes apart, by the few
functions of PromQL that they use.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from serving.live import Live
from serving.metrics import Metrics

RULES = Path(__file__).parents[3] / "monitoring" / "alerts.yaml"
SEARCH = "/v1/search"

State = Callable[[Live, Metrics], None]


def _alerts() -> dict[str, str]:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return {rule["alert"]: rule["expr"] for rule in rules}


def _answered(metrics: Metrics, status: int, ms: float = 20.0, count: int = 100) -> None:
    for _ in range(count):
        metrics.observe({"route": SEARCH, "method": "POST", "status": status, "ms": ms})


def _healthy(live: Live, metrics: Metrics) -> None:
    _answered(metrics, 200)


def _not_ready(live: Live, metrics: Metrics) -> None:
    live.index_problem = "the table is gone"


def _degraded(live: Live, metrics: Metrics) -> None:
    live.degraded = "there is no valid HNSW"


def _pending(live: Live, metrics: Metrics) -> None:
    live.model_problem = "its weights cannot be fetched"


def _refusing(live: Live, metrics: Metrics) -> None:
    _answered(metrics, 200, count=94)
    _answered(metrics, 503, count=6)


def _failing(live: Live, metrics: Metrics) -> None:
    _answered(metrics, 500, count=1)


def _slow(live: Live, metrics: Metrics) -> None:
    _answered(metrics, 200, count=98)
    _answered(metrics, 200, ms=2_500.0, count=2)


STATES: dict[str, State] = {
    "ClipAssetsNotReady": _not_ready,
    "ClipAssetsDegraded": _degraded,
    "ClipAssetsReleasePending": _pending,
    "ClipAssetsRefusing": _refusing,
    "ClipAssetsFailing": _failing,
    "ClipAssetsSlow": _slow,
}


@pytest.mark.parametrize("name", _alerts())
def test_each_alert_fires_alone(name: str) -> None:
    """In its state, and none of the others does; before it, in a healthy one, none at all."""
    live = Live(silence_seconds=60.0, snapshot=_A_RELEASE, database_seen=time.monotonic())
    metrics = Metrics(live)
    _healthy(live, metrics)
    before = _scrape(metrics)
    _healthy(live, metrics)
    healthy = _scrape(metrics)
    STATES[name](live, metrics)
    after = _scrape(metrics)
    assert [one for one, expr in _alerts().items() if _fires(expr, before, healthy)] == []
    assert [one for one, expr in _alerts().items() if _fires(expr, healthy, after)] == [name]


class _Release:
    """As much of a release as metrics show."""

    id, rows = 1, 10


class _Snapshot:
    release = _Release()


_A_RELEASE: Any = _Snapshot()


def _scrape(metrics: Metrics) -> list[Sample]:
    families = text_string_to_metric_families(metrics.text().decode())
    return [sample for family in families for sample in family.samples]


def _fires(expr: str, before: list[Sample], after: list[Sample]) -> bool:
    """Whether the expression gives a value for the last of two scrapes."""

    def increase(name: str, labels: dict[str, str]) -> list[tuple[Sample, float]]:
        first = {(s.name, *sorted(s.labels.items())): s.value for s in before}
        return [
            (s, s.value - first.get((s.name, *sorted(s.labels.items())), 0.0))
            for s in after
            if s.name == name and labels.items() <= s.labels.items()
        ]

    def total(found: re.Match[str]) -> str:
        return str(sum(value for _, value in increase(found[1], _labels(found[2]))))

    def quantile(found: re.Match[str]) -> str:
        rows = increase(found[2], _labels(found[3]))
        buckets = sorted((float(s.labels["le"]), value) for s, value in rows)
        wanted = float(found[1]) * buckets[-1][1]
        return str(next((le for le, count in buckets if count >= wanted), 0.0) if wanted else 0.0)

    def gauge(found: re.Match[str]) -> str:
        (value,) = [s.value for s in after if s.name == found[0]]
        return str(value)

    text = re.sub(r"\s+", " ", expr)
    selector = r"(\w+)(\{[^}]*\})?\[5m\]"
    by_le = rf"histogram_quantile\( ?([\d.]+), sum by \(le\) \(rate\( ?{selector}\)\)\)"
    text = re.sub(by_le, quantile, text)
    text = re.sub(rf"sum\((?:rate|increase)\({selector}\)\)", total, text)
    text = re.sub(r"clip_assets_\w+", gauge, text)
    assert re.fullmatch(r"[\d.e+\-/ <>=]+", text), text
    numbers, sign, limit = re.split(r" (>|==) ", text)
    above, _, below = numbers.partition(" / ")
    value = float(above) / float(below) if below and float(below) else float(above)
    return value > float(limit) if sign == ">" else value == float(limit)


def _labels(text: str | None) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', text or ""))
