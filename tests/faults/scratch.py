"""A folder and a database for a program that is run by hand."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect
from clip_assets.postgres.migrate import migrate


@contextmanager
def scratch() -> Iterator[tuple[Path, str]]:
    """An empty folder, and the address of a migrated database; both are deleted at the end."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the server's own user enters it
    try:
        server = embedded.start(folder / "postgres", cleanup_mode="delete")
        dsn = str(server.get_uri())
        with connect(dsn) as connection:
            migrate(connection)
        yield folder, dsn
    finally:
        shutil.rmtree(folder, ignore_errors=True)
