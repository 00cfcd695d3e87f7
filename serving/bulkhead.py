"""A few threads with a short, bounded queue, for work that must not block the event loop.

Without the bound, a service at twice its capacity answers every request seconds late; with it,
the service answers as many as it can in time and refuses the others at once.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from .errors import Busy, ClientGone, DeadlineExceeded
from .tracing import stage

T = TypeVar("T")

_OF_THE_LATEST = 0.1  # weight of the latest call in the moving average of durations


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Deadline:
    """How long a request may take, and whether its client is still connected.

    `until` is in the event loop's time. `notes` collects milliseconds for the access log.
    """

    until: float
    gone: Callable[[], bool] = _never
    notes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def within(
        cls,
        seconds: float,
        gone: Callable[[], bool] = _never,
        notes: dict[str, float] | None = None,
    ) -> "Deadline":
        until = asyncio.get_running_loop().time() + seconds
        return cls(until, gone, {} if notes is None else notes)

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.until - asyncio.get_running_loop().time())


class Bulkhead:
    """Runs `threads` calls at a time; up to `waiting` more may queue, any further are refused.

    `nice` lowers the priority of its threads against the process's other threads, as in nice(2).
    """

    def __init__(self, name: str, threads: int, waiting: int, nice: int = 0) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=partial(give_way, nice)
        )
        self._slots = asyncio.Semaphore(threads)
        self._threads = threads
        self._bound = threads + waiting
        self._inside = 0
        self._usual_seconds = 0.0

    async def run(self, work: Callable[[], T], deadline: Deadline) -> T:
        """The result of `work`, run in a thread of this bulkhead.

        Raises Busy if the queue is full or the calls ahead are likely to take until the deadline,
        DeadlineExceeded, or ClientGone. Work that outlives the deadline keeps running and keeps its
        slot until it ends.
        """
        with stage(f"{self._name} wait"):
            await self._enter(deadline)
        started = time.perf_counter()
        with stage(self._name):
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, work)
            future.add_done_callback(self._leave)
            done, _ = await asyncio.wait({future}, timeout=deadline.left)
        deadline.notes[f"{self._name}_ms"] = ms_since(started)
        if not done:
            raise DeadlineExceeded(f"The {self._name} did not finish in time. Try again shortly.")
        return future.result()

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def idle(self) -> int:
        """Number of threads that no call uses or waits for."""
        return max(0, self._threads - self._inside)

    def require_time(self, deadline: Deadline) -> None:
        """Raises Busy if the calls already inside are likely to take until the deadline."""
        if self._expected_wait > deadline.left:
            raise self._busy

    @property
    def _busy(self) -> Busy:
        return Busy(f"Too many requests are waiting for the {self._name}. Try again shortly.")

    async def _enter(self, deadline: Deadline) -> None:
        if self._inside >= self._bound:
            raise self._busy
        self.require_time(deadline)
        self._inside += 1
        try:
            await self._take_slot(deadline)
        except BaseException:
            self._inside -= 1
            raise

    @property
    def _expected_wait(self) -> float:
        """Estimated seconds until a thread is free for the next call."""
        ahead = max(0, self._inside - self._threads + 1)
        return ahead * self._usual_seconds / self._threads

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            took = time.perf_counter() - started
            self._usual_seconds += (took - self._usual_seconds) * _OF_THE_LATEST

    async def _take_slot(self, deadline: Deadline) -> None:
        asked = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline.until):
                await self._slots.acquire()
        except TimeoutError:
            raise DeadlineExceeded(
                f"The {self._name} did not become free in time. Try again shortly."
            ) from None
        deadline.notes[f"{self._name}_wait_ms"] = ms_since(asked)
        if deadline.gone():
            self._slots.release()
            raise ClientGone("The client disconnected before its turn.")

    def _leave(self, future: "asyncio.Future[T]") -> None:
        self._slots.release()
        self._inside -= 1
        # Nobody awaits an abandoned call; reading its exception keeps asyncio from logging it.
        if not future.cancelled():
            future.exception()


def give_way(nice: int) -> None:
    """Lower the priority of this thread, as nice(2) does.

    On Linux a thread has a priority of its own; elsewhere it keeps that of its process.
    """
    thread = threading.get_native_id()
    with suppress(OSError):
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, now + nice)


def ms_since(start: float) -> float:
    """Milliseconds since `start`, a time of `perf_counter`."""
    return round((time.perf_counter() - start) * 1000, 2)
