"""Runs calls that wait for the encoder at the same time as one batch.

Most of the time of a single text goes into reading the model's weights, which a batch reads once:
with ViT-B-32's text tower on a CPU, sixteen texts in one call take a quarter of the time of sixteen
calls. No call waits for a batch to fill: a batch is what gathers while all threads of the bulkhead
are busy.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from .bulkhead import Bulkhead, Deadline, ms_since
from .errors import ClientGone, DeadlineExceeded
from .tracing import stage

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Call(Generic[T, R]):
    """The items of one request. The outcome of each item is a result or an error."""

    items: Sequence[T]
    deadline: Deadline
    outcomes: "asyncio.Future[list[R | Exception]]"

    def settle(self, outcomes: list[R | Exception]) -> None:
        if not self.outcomes.done():
            self.outcomes.set_result(outcomes)


@dataclass(eq=False)
class _Batch(Generic[T, R]):
    """Calls that run together. `begun` is set when the batch starts or is refused."""

    calls: list[_Call[T, R]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        return sum(len(call.items) for call in self.calls)

    def leave_out(self) -> None:
        """Drop the calls that nobody is waiting for any more."""
        for call in self.calls:
            if not call.outcomes.done() and call.deadline.gone():
                call.settle([ClientGone("The client disconnected before its turn.")])
        self.calls = [call for call in self.calls if not call.outcomes.done()]


class Batches(Generic[T, R]):
    """Runs `work` on up to `most` items at once, in a thread of the bulkhead. A batch takes one
    place in the bulkhead. A call with more than `most` items is its own batch.

    `work` returns a result for each item. If it raises, each item is tried alone, so that only the
    call with the faulty item fails.
    """

    def __init__(
        self, name: str, bulkhead: Bulkhead, work: Callable[[list[T]], list[R]], most: int
    ) -> None:
        self._name = name
        self._bulkhead = bulkhead
        self._work = work
        self._most = most
        self._gathering: _Batch[T, R] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, items: Sequence[T], deadline: Deadline) -> list[R]:
        """The results of `items`, in the same order.

        Raises Busy, DeadlineExceeded or ClientGone like the bulkhead, or what `work` raises for one
        of the items. A call that is cancelled or expires while it waits leaves its batch.
        """
        self._bulkhead.require_time(deadline)
        call = _Call[T, R](items, deadline, asyncio.get_running_loop().create_future())
        batch = self._batch_for(len(items))
        batch.calls.append(call)
        try:
            async with asyncio.timeout_at(deadline.until):
                outcomes = await self._outcomes_of(call, batch)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The {self._name} did not finish in time. Try again shortly."
            ) from None
        finally:
            call.outcomes.cancel()
        results = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            results.append(outcome)
        return results

    async def _outcomes_of(self, call: _Call[T, R], batch: _Batch[T, R]) -> list[R | Exception]:
        asked = time.perf_counter()
        with stage(f"{self._name} wait"):
            await batch.begun.wait()
        call.deadline.notes[f"{self._name}_wait_ms"] = ms_since(asked)
        begun = time.perf_counter()
        with stage(self._name):
            outcomes = await call.outcomes
        call.deadline.notes[f"{self._name}_ms"] = ms_since(begun)
        return outcomes

    def _batch_for(self, count: int) -> _Batch[T, R]:
        batch = self._gathering
        if batch is None or batch.size + count > self._most:
            batch = self._gathering = _Batch()
            # In an empty context, because a batch does not belong to one request's trace.
            task = asyncio.get_running_loop().create_task(self._run(batch), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return batch

    async def _run(self, batch: _Batch[T, R]) -> None:
        """Run the batch when its turn comes, and settle its calls."""
        items: list[T] = []

        def nobody_waits() -> bool:
            """Called at the batch's turn: from now on, no call can join it."""
            self._close(batch)
            batch.leave_out()
            items.extend(item for call in batch.calls for item in call.items)
            batch.begun.set()
            return not items

        try:
            # The batch has no deadline: each call enforces its own, also while the batch runs.
            everyone = Deadline(math.inf, nobody_waits)
            outcomes = iter(await self._bulkhead.run(partial(self._tried, items), everyone))
            for call in batch.calls:
                call.settle([next(outcomes) for _ in call.items])
        except Exception as error:  # such as the bulkhead's; it is raised in each call
            for call in batch.calls:
                call.settle([error])
        finally:
            self._close(batch)
            batch.begun.set()

    def _close(self, batch: _Batch[T, R]) -> None:
        if self._gathering is batch:
            self._gathering = None

    def _tried(self, items: list[T]) -> list[R | Exception]:
        try:
            return [*self._work(items)]
        except Exception as error:  # it is raised in the call that the item belongs to
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in self._tried([item])]
