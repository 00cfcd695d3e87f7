"""One of several forked processes that serve a port and share the model's weights."""

import asyncio
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

from clip_assets.errors import ModelError
from clip_assets.model import ModelSpec

from . import log
from .app import create_app
from .encoder import Model
from .server import DrainingServer, config_of
from .settings import ServingSettings

STARTED = "started"
PATIENCE_SECONDS = 10.0
"""A worker with a model accepts connections once it is ready, or after this time in any case."""


@dataclass(frozen=True)
class Loaded:
    """A model and the spec it was loaded from."""

    spec: ModelSpec
    model: Model


class Link:
    """A worker's side of its connection to the supervisor."""

    def __init__(self, connection: Connection, loaded: Loaded | None) -> None:
        self._connection = connection
        self.loaded = loaded
        self._asking = Lock()

    def say_started(self) -> None:
        self._connection.send(STARTED)

    def load(self, spec: ModelSpec, _: str | None) -> Model:
        """The model that was loaded before the fork.

        If another model is needed, the supervisor loads it and replaces this worker, so this call
        does not return. Raises ModelError if the model could not be loaded.
        """
        if self.loaded and self.loaded.spec == spec:
            return self.loaded.model
        with self._asking:
            self._connection.send(spec)
            raise ModelError(self._connection.recv())


def work(
    settings: ServingSettings, listening: socket.socket, link: Link, folder: Path, alive: int
) -> None:
    """Serve until a signal arrives, or until the supervisor ends, which closes the pipe `alive`."""
    os.setpgid(0, 0)  # Ctrl-C reaches only the supervisor, which passes it on
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda ended, _: sys.exit(128 + ended))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    log.to_stderr()
    app = create_app(settings, link.load, folder, PATIENCE_SECONDS if link.loaded else 0.0)

    def started(server: DrainingServer) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, server.retire)
        loop.add_reader(alive, _ended, loop, alive, server)
        link.say_started()

    async def note() -> None:
        app.state.metrics.note()

    config = config_of(app, settings)
    config.callback_notify = note
    config.timeout_notify = 1
    try:
        DrainingServer(config, app.state.live, settings.drain_seconds, started).run([listening])
    finally:
        logging.shutdown()  # a forked process skips Python's exit handlers


def _ended(loop: asyncio.AbstractEventLoop, alive: int, server: DrainingServer) -> None:
    loop.remove_reader(alive)
    server.retire()
