"""How long each stage of the pipeline is busy, and so which of them limits it."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

_Item = TypeVar("_Item")


class Stages:
    """Busy seconds by stage, added by several threads at once.

    `workers` is the number of threads of each stage, by name.
    """

    def __init__(self, workers: Mapping[str, int]) -> None:
        self._workers = workers
        self._lock = Lock()
        self._seconds = dict.fromkeys(workers, 0.0)
        self._taken = dict(self._seconds)

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self._seconds[stage] += seconds

    def each(self, stage: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items; the time that the iterator takes is counted for the stage."""
        iterator = iter(items)
        while True:
            with self.busy(stage):
                item = next(iterator, _END)
            if item is _END:
                return
            yield item  # type: ignore[misc]

    def take(self) -> dict[str, float]:
        """Seconds by stage since the last call."""
        with self._lock:
            now = dict(self._seconds)
        before, self._taken = self._taken, now
        return {stage: round(now[stage] - before[stage], 3) for stage in now}

    @property
    def limit(self) -> str:
        """The stage whose threads are busy for the largest share of the time."""
        return limiting(self._seconds, self._workers)


_END: object = object()


def limiting(seconds: Mapping[str, float], workers: Mapping[str, int]) -> str:
    """The stage whose threads are busy for the largest share of the time; empty if none is."""
    busiest = max(seconds, key=lambda stage: seconds[stage] / workers[stage])
    return busiest if seconds[busiest] else ""
