"""Prometheus metrics. Labels are routes, methods and statuses, never what a client sent, so the
number of series is bounded."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .live import Live

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5)


class Metrics:
    """The metrics of one process of the service."""

    def __init__(self, live: Live) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "clip_assets_requests",
            "Requests by route, method and status; the route of refused ones is empty.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "clip_assets_request_seconds",
            "Time from a request's header to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_State(live))

    def observe(self, line: dict[str, Any]) -> None:
        """Count a request by the fields of its log line."""
        route = line["route"] or ""
        method = line["method"] if line["method"] in _METHODS else "other"
        self._requests.labels(route, method, str(line["status"])).inc()
        self._seconds.labels(route).observe(line["ms"] / 1000)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _State(Collector):
    """What the watcher last saw, read when the metrics are."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        problems = self._live.problems()
        ready = GaugeMetricFamily("clip_assets_ready", "1 if searches are answered.")
        ready.add_metric([], not problems)
        yield ready
        parts = GaugeMetricFamily(
            "clip_assets_problem",
            "1 if this part keeps searches from being answered.",
            labels=["part"],
        )
        for part in ("database", "model", "release", "index", "service"):
            parts.add_metric([part], part in problems)
        yield parts
        slow = GaugeMetricFamily("clip_assets_degraded", "1 if the index has no valid HNSW.")
        slow.add_metric([], self._live.degraded is not None)
        yield slow
        pending = GaugeMetricFamily("clip_assets_pending", "1 if a newer release is not served.")
        pending.add_metric([], self._live.pending is not None)
        yield pending
        if snapshot := self._live.snapshot:
            release = GaugeMetricFamily("clip_assets_release", "Id of the release that answers.")
            release.add_metric([], snapshot.release.id)
            yield release
            rows = GaugeMetricFamily("clip_assets_release_rows", "Images in that release.")
            rows.add_metric([], snapshot.release.rows)
            yield rows
