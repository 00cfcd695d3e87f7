"""Writes to local folders that are either complete or absent.

obstore renames on a local disk but does not fsync. So files are written here: temporary name,
fsync, then link (create-only) or rename by the caller.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clip_assets.errors import StoreError

TEMPORARY = ".tmp-"
# Errors of file systems that lack hard links or cannot sync a folder.
NOT_SUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


@contextmanager
def whole_file(target: Path, data: bytes) -> Iterator[Path]:
    """An fsynced temporary file beside `target`, removed at the end if it still exists."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _fsync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror}. Free some space, or set CLIP_ASSETS_DATA "
            "to a disk or bucket with more; finished parts are kept."
        ) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Admit one writer at a time, if the file system has locks; a killed writer's lock is freed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED | {errno.EBADF, errno.ENOLCK}:
                raise
        yield
    finally:
        os.close(handle)


def remove_empty_folders(folder: Path, root: Path) -> None:
    """Keep local folders like a bucket, where a prefix without objects does not exist."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # it is not empty, or another process removed it
            return
        folder = folder.parent


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # a bucket's mount has no folders to sync
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(handle)
