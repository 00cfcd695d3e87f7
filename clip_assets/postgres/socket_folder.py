"""The folder of an embedded server's socket. Anyone who reaches the socket is a superuser."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clip_assets.errors import DatabaseError

SOCKET = ".s.PGSQL.5432"
_LONGEST = 103  # bytes of a socket's path on macOS; on Linux 107
_PLAIN = re.compile(r"[\w/.~-]+", re.ASCII)  # needs no quoting in a URI or in Postgres' settings


def socket_folder(data: Path, owner: int) -> Path:
    """The data folder if a socket's path fits; otherwise a folder that only `owner` may enter.

    Raises DatabaseError if somebody else created that folder.
    """
    if _fits(data):
        return data  # Postgres itself refuses to start in one that others may enter
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    parent = next(one for one in _parents(owner) if _fits(one / name))
    for folder in (parent, parent / name):
        require_private(_made(folder, owner), owner)
    return parent / name


def require_private(folder: Path, owner: int) -> None:
    """Raises DatabaseError if users other than `owner` may enter the folder, or replace it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o027:
        raise DatabaseError(
            f"The folder {folder} would have the socket of the embedded Postgres, but other users "
            "may enter it: stop what uses it and remove it, or set CLIP_ASSETS_HOME to a shorter "
            "path."
        )


def _parents(owner: int) -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and owner == os.getuid():  # closed to any other user that the server runs as
        yield Path(runtime) / "clip_assets"
    for temporary in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - made private below
        yield Path(temporary) / f"clip_assets-{owner}"


def _made(folder: Path, owner: int) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid == os.getuid() != owner:
        os.chown(folder, owner, -1, follow_symlinks=False)
    return folder


def _fits(folder: Path) -> bool:
    path = str(folder / SOCKET)
    return len(path) <= _LONGEST and _PLAIN.fullmatch(path) is not None
