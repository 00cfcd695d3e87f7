"""Executes a run in a thread of this process, so that a signal cancels it as the UI does."""

import ctypes
import gc
from collections.abc import Callable
from threading import Thread

import dagster as dg

from clip_assets.compute.local import stop_all
from clip_assets.dagster_private import LocalRun, begin_cancel, close_as_canceled, free_slots

_POLL_SECONDS = 0.3


class Execution:
    """Executes one run in its own thread, so that the main thread can handle signals."""

    def __init__(self, local: LocalRun, *, stop_seconds: float) -> None:
        self._local, self._stop_seconds = local, stop_seconds
        self._instance, self._run_id = local.instance, local.run.run_id
        self._events: list[dg.DagsterEvent] = []
        self._error: BaseException | None = None
        # A daemon thread does not keep the process alive if it cannot be stopped in time.
        self._thread = Thread(target=self._run, daemon=True)

    def wait(self, meanwhile: Callable[[], None]) -> list[dg.DagsterEvent]:
        """The events of the run; calls `meanwhile` again and again until it has ended.

        A KeyboardInterrupt or SystemExit, which signals raise in the main thread, cancels the run.
        """
        try:
            self._thread.start()
            while self._thread.is_alive():
                meanwhile()
                self._thread.join(_POLL_SECONDS)
        except BaseException:
            try:
                self._cancel()
            finally:
                self._close()
            raise
        if self._error:
            raise self._error
        return self._events

    def _run(self) -> None:
        try:
            self._events = self._local.execute()
        except KeyboardInterrupt:
            # The interrupt may have come between two steps of one of our generators. Collecting
            # it closes it, and then the SkyPilot client cancels its job.
            gc.collect()
        except BaseException as error:  # raised again in the main thread
            self._error = error

    def _cancel(self) -> None:
        """Record the cancellation before stopping, so that Dagster marks the run as canceled."""
        run = self._instance.get_run_by_id(self._run_id)
        if run and not run.is_finished:
            begin_cancel(self._instance, run)
        _interrupt(self._thread)
        stop_all()
        self._thread.join(self._stop_seconds)
        stop_all()  # it may have started a job before it saw the interrupt

    def _close(self) -> None:
        run = self._instance.get_run_by_id(self._run_id)
        if run and not run.is_finished:
            close_as_canceled(self._instance, run)
        free_slots(self._instance, self._run_id)


def _interrupt(thread: Thread) -> None:
    """Raise KeyboardInterrupt in the thread, as a signal does in the main thread.

    Dagster ends a step on it, and psycopg cancels its statement on the server.
    """
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
        )
