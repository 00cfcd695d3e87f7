"""Does slow work on many items in parallel, and yields the results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Generic, TypeVar

from clip_assets.errors import SourceError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Late(Generic[Item, Result]):
    """The result of an item that takes longer than `after` seconds."""

    after: float
    result: Callable[[Item], Result]


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int = 16,
    ahead: int = 32,
    late: Late[Item, Result] | None = None,
) -> Iterator[Result]:
    """Results of `work` in the order of `items`, computed by threads at most `ahead` items early.

    An exception is raised at its item's position. Closing the iterator cancels work that has not
    started. Without `late`, an item may take as long as it needs, as a large tar does.
    Raises SourceError if more items were late than there are threads.
    """
    readers: _Readers[Item, Result] = _Readers(work, threads, late)
    waiting: deque[_Task[Item, Result]] = deque()
    try:
        for item in items:
            waiting.append(readers.submit(item))
            if len(waiting) >= ahead:
                yield readers.result(waiting.popleft())
        while waiting:
            yield readers.result(waiting.popleft())
    finally:
        readers.close(waiting)


class _Task(Generic[Item, Result]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.future: Future[Result] = Future()
        self.begun = monotonic()

    def left(self, late: Late[Item, Result] | None) -> float | None:
        """Seconds until it is late; None if it never is."""
        return max(0.0, self.begun + late.after - monotonic()) if late else None


class _Readers(Generic[Item, Result]):
    """Threads that do not keep the process alive: nothing ends a read that hangs."""

    def __init__(
        self, work: Callable[[Item], Result], threads: int, late: Late[Item, Result] | None
    ) -> None:
        self._work, self._late = work, late
        self._tasks: SimpleQueue[_Task[Item, Result] | None] = SimpleQueue()
        self._most, self._begun, self._stuck = threads, 0, 0

    def submit(self, item: Item) -> "_Task[Item, Result]":
        if self._begun < self._most:
            self._begin()
        task: _Task[Item, Result] = _Task(item)
        self._tasks.put(task)
        return task

    def result(self, task: "_Task[Item, Result]") -> Result:
        """The result of the oldest task, which has started unless every thread hangs."""
        if self._late is None:
            return task.future.result()
        while (left := task.left(self._late)) or task.future.done():
            wait([task.future], left)
            if task.future.done():
                return task.future.result()
        self._stuck += 1
        if self._stuck > self._most:
            raise SourceError(
                f"Reading has not ended after {self._late.after:g} s. Check the disk or the server "
                "that has the images, then run again; if it only needs longer, raise "
                "`deadline_seconds` in the collection's `source:`."
            )
        self._begin()
        return self._late.result(task.item)

    def close(self, waiting: "Iterable[_Task[Item, Result]]") -> None:
        begun = [task for task in waiting if not task.future.cancel()]
        for _ in range(self._begun):
            self._tasks.put(None)
        for task in begun:
            wait([task.future], task.left(self._late))

    def _begin(self) -> None:
        self._begun += 1
        Thread(target=self._serve, name="source", daemon=True).start()

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.begun = monotonic()
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                task.future.set_result(self._work(task.item))
            except BaseException as error:  # raised where the result is awaited
                task.future.set_exception(error)
