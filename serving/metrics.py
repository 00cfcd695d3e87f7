"""Prometheus metrics. Labels are routes, methods and statuses, never what a client sent, so the
number of series is bounded."""

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from .live import Live

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5)
_PARTS = ("database", "model", "release", "index", "service")


class Metrics:
    """The metrics of a service. Workers keep theirs in files in `folder`; any worker reports the
    sum of the counters and the worst of the states."""

    def __init__(self, live: Live, folder: Path | None = None) -> None:
        self._live = live
        registry = CollectorRegistry()
        self._requests = Counter(
            "clip_assets_requests",
            "Requests by route, method and status; refused requests have an empty route.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "clip_assets_request_seconds",
            "Time from a request's header to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )

        def gauge(name: str, says: str, of_all: Any = "livemax", labels: Any = ()) -> Gauge:
            return Gauge(
                f"clip_assets_{name}", says, labels, registry=registry, multiprocess_mode=of_all
            )

        self._ready = gauge("ready", "1 if searches are answered, by every worker.", "livemin")
        self._problem = gauge(
            "problem", "1 if this part keeps searches from being answered.", labels=["part"]
        )
        self._degraded = gauge("degraded", "1 if the index has no valid HNSW.")
        self._pending = gauge("pending", "1 if a newer release is not served.")
        self._release = gauge("release", "Id of the release that answers; 0 if none does.")
        self._rows = gauge("release_rows", "Images in that release.")
        self._workers = gauge("workers", "Processes that answer.", "livesum")
        self._registry = registry
        if folder:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry, str(folder))  # type: ignore[no-untyped-call]

    def observe(self, line: dict[str, Any]) -> None:
        """Count a request by the fields of its log line."""
        route = line["route"] or ""
        method = line["method"] if line["method"] in _METHODS else "other"
        self._requests.labels(route, method, str(line["status"])).inc()
        self._seconds.labels(route).observe(line["ms"] / 1000)

    def note(self) -> None:
        """Set the gauges to what the watcher last saw; each worker calls this once a second."""
        problems = self._live.problems()
        self._ready.set(not problems)
        for part in _PARTS:
            self._problem.labels(part).set(part in problems)
        self._degraded.set(self._live.degraded is not None)
        self._pending.set(self._live.pending is not None)
        snapshot = self._live.snapshot
        self._release.set(snapshot.release.id if snapshot else 0)
        self._rows.set(snapshot.release.rows if snapshot else 0)
        self._workers.set(1)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self.note()
        return generate_latest(self._registry)
