"""Runs long work outside the bulkheads: starting Postgres, loading a model."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def daemon(name: str, work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run `work` in its own daemon thread, which does not delay the end of the process.

    An executor's threads are joined at exit, so Ctrl-C would wait for a model's download to finish.
    """
    result: Future[T] = Future()
    threading.Thread(target=_settle, args=(result, work), name=name, daemon=True).start()
    return asyncio.wrap_future(result)


def _settle(result: "Future[T]", work: Callable[[], T]) -> None:
    try:
        outcome = work()
    except BaseException as error:
        if result.set_running_or_notify_cancel():
            result.set_exception(error)
    else:
        if result.set_running_or_notify_cancel():
            result.set_result(outcome)
