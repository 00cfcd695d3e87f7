"""Keeps several workers serving one port, with one copy of the model's weights in memory.

Workers are forked after a model is loaded, so they share its pages. The supervisors of uvicorn and
granian spawn fresh processes, so each would load its own weights. gunicorn forks, but loads only at
its start; here the live release determines the model, and a later release may change it.
"""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

from PIL import Image
from prometheus_client.multiprocess import mark_process_dead

from clip_assets.errors import ClipAssetsError
from clip_assets.model import ModelSpec

from .backoff import Backoff
from .connections import BACKLOG
from .loading import Load, load_model
from .server import address
from .settings import ServingSettings
from .worker import STARTED, Link, Loaded, work

logger = logging.getLogger(__name__)

_YOUNG_SECONDS = 10.0  # a worker that ends sooner may keep failing
_BLOCKED = {signal.SIGTERM, signal.SIGINT}


class _Stopped(BaseException):
    """A signal came while a model was being loaded."""


@dataclass
class _Worker:
    process: ForkProcess
    link: Connection
    loaded: Loaded | None
    """The model it was forked with; it is replaced once the supervisor has another one."""
    since: float = field(default_factory=time.monotonic)
    retired: bool = False

    def send_signal(self, number: signal.Signals) -> None:
        if self.process.pid:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


class Supervisor:
    """Forks workers, replaces those that end, and loads the model for all of them.

    It starts no threads, because a fork copies only the calling thread.
    """

    def __init__(
        self,
        settings: ServingSettings,
        listening: socket.socket,
        folder: Path,
        load: Load = load_model,
    ) -> None:
        self._settings = settings
        self._listening = listening
        self._folder = folder
        self._load = load
        self._context = multiprocessing.get_context("fork")
        self._workers: list[_Worker] = []
        self._loaded: Loaded | None = None
        self._failed: tuple[ModelSpec, str, float] | None = None
        self._backoff = Backoff()
        self._stopping: signal.Signals | None = None
        self._loading = False
        self._alive, self._held = os.pipe()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; returns the process's exit status."""
        for number in _BLOCKED:
            signal.signal(number, self._stop)
        self._listening.listen(BACKLOG)
        print(f"Search page: {address(self._listening)}", flush=True)
        self._fill()
        while not self._stopping or self._workers:
            self._attend()
            self._fill()
        gc.unfreeze()
        return 128 + self._stopping

    def _attend(self) -> None:
        """Wait for messages and ended workers, at most until the pause is over, and handle them."""
        heard = [worker for worker in self._workers if not worker.link.closed]
        happened = wait(
            [*(worker.link for worker in heard), *(one.process.sentinel for one in self._workers)],
            None if self._full else 0.5,
        )
        for worker in heard:
            if worker.link in happened:
                self._hear(worker)
        for worker in [*self._workers]:
            if worker.process.sentinel in happened:
                self._bury(worker)

    @property
    def _full(self) -> bool:
        return bool(self._stopping) or self._missing <= 0

    @property
    def _missing(self) -> int:
        current = [one for one in self._workers if one.loaded is self._loaded and not one.retired]
        return self._settings.workers - len(current)

    def _fill(self) -> None:
        while not self._full and self._backoff.over:
            self._fork()

    def _fork(self) -> None:
        ours, theirs = self._context.Pipe()
        link = Link(theirs, self._loaded)
        process = self._context.Process(target=self._become, args=(link, ours))
        # The children's garbage collections do not write to frozen objects, so they stay shared.
        gc.collect()
        gc.freeze()
        # Until the child has its own handlers, a signal to it would run the supervisor's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        process.start()
        self._workers.append(_Worker(process, ours, self._loaded))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
        theirs.close()

    def _become(self, link: Link, ours: Connection) -> None:
        os.close(self._held)
        for other in [*(worker.link for worker in self._workers), ours]:
            other.close()
        work(self._settings, self._listening, link, self._folder, self._alive)

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.link.recv()
            if said == STARTED:
                if worker.loaded is self._loaded:
                    self._replace()
            elif not self._stopping and (problem := self._provide(said)):
                worker.link.send(problem)
        except (EOFError, OSError):  # it has ended; its sentinel says so, too
            worker.link.close()

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.link.close()
        self._workers.remove(worker)
        mark_process_dead(worker.process.pid, str(self._folder))  # type: ignore[no-untyped-call]
        if worker.retired or self._stopping:
            return
        logger.warning(
            "worker %s ended with %s; starting another",
            worker.process.pid,
            worker.process.exitcode,
        )
        if time.monotonic() - worker.since < _YOUNG_SECONDS:
            self._backoff.begin()

    def _replace(self) -> None:
        """Retire one worker with an older model, now that one with the new model answers, or all
        workers without a model, which cannot answer."""
        old = [one for one in self._workers if one.loaded is not self._loaded and not one.retired]
        bare = [worker for worker in old if worker.loaded is None]
        for worker in bare or old[:1]:
            worker.retired = True
            worker.send_signal(signal.SIGUSR1)

    def _provide(self, spec: ModelSpec) -> str | None:
        """Load the model for the next workers. Returns the problem if it cannot be loaded."""
        if self._loaded and self._loaded.spec == spec:
            return None  # the worker that asks is about to be replaced
        if self._failed and self._failed[0] == spec:
            _, problem, failed_at = self._failed
            if time.monotonic() - failed_at < self._settings.load_retry_seconds:
                return problem
        self._loading = True
        try:
            model = self._load(spec, "cpu")
            # Encode once, so that what the first calls allocate is shared, too.
            model.encode_text(["a photo of a cloud"])
            model.encode_images([Image.new("RGB", (64, 64))])
            self._loaded, self._failed = Loaded(spec, model), None
        except _Stopped:
            pass
        except ClipAssetsError as error:
            self._failed = spec, str(error), time.monotonic()
        except Exception:
            logger.exception("model: it could not be loaded")
            problem = "the model could not be loaded; see the log"
            self._failed = spec, problem, time.monotonic()
        finally:
            self._loading = False
        return self._failed[1] if self._failed else None

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = signal.Signals(number)
        self._listening.close()  # the workers' copies stay open until they close them
        for worker in self._workers:
            worker.send_signal(self._stopping)
        if self._loading:
            raise _Stopped
