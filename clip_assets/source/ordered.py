"""Does slow work on many items in parallel, and gives the results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Generic, TypeVar

from clip_assets.errors import SourceError

DEADLINE = 300.0
"""Seconds for one item. A store's client gives up earlier; a file system may never answer."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int = 16,
    ahead: int = 32,
    late: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """Results of `work` in the order of `items`, computed by threads at most `ahead` items early.

    An exception is raised at its item's position. Closing the iterator cancels work that has not
    started. With `late`, it gives the result of an item that takes longer than `DEADLINE`; without,
    an item may take as long as it needs, as a large tar does.
    Raises SourceError if as many items as there are threads were late.
    """
    readers: _Readers[Item, Result] = _Readers(work, threads)
    waiting: deque[_Task[Item, Result]] = deque()
    try:
        for item in items:
            waiting.append(readers.submit(item))
            if len(waiting) >= ahead:
                yield readers.result(waiting.popleft(), late)
        while waiting:
            yield readers.result(waiting.popleft(), late)
    finally:
        readers.close(waiting)


class _Task(Generic[Item, Result]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.future: Future[Result] = Future()
        self.begun = monotonic()

    @property
    def left(self) -> float:
        """Seconds until it is late."""
        return max(0.0, self.begun + DEADLINE - monotonic())


class _Readers(Generic[Item, Result]):
    """Threads that do not keep the process alive: nothing ends a read that hangs."""

    def __init__(self, work: Callable[[Item], Result], threads: int) -> None:
        self._work = work
        self._tasks: SimpleQueue[_Task[Item, Result] | None] = SimpleQueue()
        self._most, self._begun, self._stuck = threads, 0, 0

    def submit(self, item: Item) -> "_Task[Item, Result]":
        if self._begun < self._most:
            self._begin()
        task: _Task[Item, Result] = _Task(item)
        self._tasks.put(task)
        return task

    def result(self, task: "_Task[Item, Result]", late: Callable[[Item], Result] | None) -> Result:
        """The oldest task's, which has begun unless every thread hangs."""
        if late is None:
            return task.future.result()
        while task.left or task.future.done():
            wait([task.future], task.left)
            if task.future.done():
                return task.future.result()
        self._stuck += 1
        if self._stuck > self._most:
            raise SourceError(
                f"Reading has not ended after {DEADLINE:.0f} s. Check the disk or the server that "
                "has the images, then run again."
            )
        self._begin()
        return late(task.item)

    def close(self, waiting: "Iterable[_Task[Item, Result]]") -> None:
        begun = [task for task in waiting if not task.future.cancel()]
        for _ in range(self._begun):
            self._tasks.put(None)
        for task in begun:
            wait([task.future], task.left)

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
