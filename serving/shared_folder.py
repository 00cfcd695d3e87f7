"""The folder in which the workers of one service keep what they count together."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "clip-assets-serving-"


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for this process and those that it forks, removed when the block ends. First removes
    the folders of services that were killed.

    A lock marks a folder as in use; the kernel releases it when the last of these processes ends.
    """
    _remove_abandoned()
    folder, held = _locked()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _locked() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        held = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # without locks, nobody else removes it either
            fcntl.flock(held, fcntl.LOCK_SH)
        if folder.exists():
            return folder, held
        os.close(held)  # another service removed it before it was locked


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                _remove_unless_locked(folder)


def _remove_unless_locked(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError is an OSError
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)
