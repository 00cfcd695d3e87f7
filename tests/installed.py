"""Runs the tests against the built wheel, in a folder that has no file of the product itself.

python -m tests.installed -n 2 tests/unit   # options and paths as pytest takes them
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.wheel import CHECKOUT, built, environment, shell, site_packages

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30
"""Bytes that the tests' databases and files may take at once, with room to spare."""

_OF_THE_PRODUCT = ("clip_assets", "serving", "clip_assets.egg-info", "build")
"""The checkout's modules, and what installing and building them leaves beside them."""


def main() -> int:
    # Ctrl-C is for pytest, which cleans up.
    signal.signal(signal.SIGINT, lambda *_: None)
    with tempfile.TemporaryDirectory(prefix="clip-assets-", dir=_in_memory()) as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the user that a server of root's runs as
        wheel = built(folder)
        python = environment(folder / "venv", wheel)
        root = folder / "outside"
        _lay_out(root, site_packages(python) / "clip_assets")
        scratch = folder / "tmp"
        scratch.mkdir()
        scratch.chmod(0o1777)  # as /tmp is
        env = shell(python) | {
            "CHECKOUT": str(CHECKOUT), "WHEEL": str(wheel), "TMPDIR": str(scratch)
        }  # fmt: skip
        cache = f"cache_dir={CHECKOUT / '.pytest_cache'}"
        command = [str(python), "-m", "pytest", "-o", cache, *sys.argv[1:]]
        return subprocess.run(command, cwd=root, env=env, check=False).returncode


def _in_memory() -> str | None:
    """The folder of a file system in memory, if this machine has one with room that runs programs.

    A test's database is 345 files: to copy it takes a sixth of the processor time that it takes on
    a disk.
    """
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return None
    free = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return str(_MEMORY) if free >= _ROOM else None


def _lay_out(root: Path, package: Path) -> None:
    """What tests read of the checkout, with the installed package in the product's place."""
    root.mkdir()
    for path in CHECKOUT.iterdir():
        if not path.name.startswith(".") and path.name not in _OF_THE_PRODUCT:
            (root / path.name).symlink_to(path)
    (root / "serving").symlink_to(package / "serving")


if __name__ == "__main__":
    sys.exit(main())
