"""Reading and listing local files, whatever else a folder holds."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from clip_assets.store.atomic import TEMPORARY
from clip_assets.store.entry import Entry, local_entry


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The whole file. Raises OSError before reading if it is larger than `limit` bytes, or if it is
    a pipe or a device, which may have no end."""
    with open_regular(path) as file:
        refuse_larger(os.fstat(file.fileno()).st_size, limit)
        return file.read()


def refuse_larger(size: int, limit: int | None) -> None:
    """Raises OSError (EFBIG) if `size` is over `limit`, both in bytes."""
    if limit is not None and size > limit:
        message = f"file too large ({size >> 20} MiB, at most {limit >> 20})"
        raise OSError(errno.EFBIG, message)


def open_regular(path: Path) -> IO[bytes]:
    """Open the file. Refuses a named pipe or a device, which could block forever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file


def list_files(root: Path, prefix: str) -> Iterator[Entry]:
    """The files below `prefix`, without hidden and temporary ones; links are followed."""
    for parent, folders, names in os.walk(root / prefix, onerror=_raise_unless_gone):
        folders[:] = [name for name in folders if not name.startswith(".")]
        base = Path(parent)
        below = "" if base == root else f"{base.relative_to(root).as_posix()}/"
        for name in names:
            if name.startswith((TEMPORARY, ".")):
                continue
            status = status_of(base / name)
            if status:
                yield local_entry(below + name, status)


def status_of(path: Path) -> os.stat_result | None:
    """The status of the file, or None if it no longer exists.

    A dangling link is listed, so that reading it fails.
    """
    for look in (path.stat, path.lstat):
        try:
            return look()
        except FileNotFoundError:
            continue
    return None


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
