"""PgBouncer in transaction mode, in front of somebody else's Postgres."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.ports import free_port
from tests.provider import PASSWORD, Provider

CONNECTIONS = 2
"""To the server; so few that clients take turns with them at once."""

_SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 500
logfile = {folder}/log
"""


@contextmanager
def pooler(server: Provider, address: str, folder: Path) -> Iterator[str]:
    """The address that goes through a new PgBouncer; `folder` is one that other users may enter."""
    user, port = conninfo_to_dict(address)["user"], free_port()
    (folder / "users").write_text(f'"{user}" "{PASSWORD}"\n')
    (folder / "settings").write_text(
        _SETTINGS.format(server=server.port, port=port, folder=folder, connections=CONNECTIONS)
    )
    (folder / "log").touch()
    (folder / "log").chmod(0o666)
    started = subprocess.Popen(
        ["pgbouncer", str(folder / "settings")], user=server.user, cwd="/",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        through = make_conninfo(address, port=port)
        _wait(started, through, folder / "log")
        yield through
    finally:
        started.kill()
        started.wait()


def _wait(started: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert started.poll() is None, log.read_text()
        else:
            return
