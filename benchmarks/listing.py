"""Processor-seconds and memory of listing a source, compared with the plain system calls.

    .venv/bin/python -m benchmarks.listing --files 200000 --tars 1000

The files are on a local disk and in the page cache. The peer of a folder is `os.walk` with a `stat`
of each file; that of tars is `tarfile` reading the headers.
"""

import argparse
import io
import os
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clip_assets.source.config import FolderConfig, WebDatasetConfig
from clip_assets.source.open import open_source

IN_A_FOLDER, IN_A_TAR = 1_000, 100
BYTES = 20_000  # of an image in a tar


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--tars", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["CLIP_ASSETS_HOME"] = str(root / "home")
        folder, tars = root / "folder", root / "tars"
        _write_files(folder, given.files)
        _write_tars(tars, given.tars)
        plain = _measured("os.walk and stat", lambda: _walked(folder))
        for look in ("a look at a folder", "another look"):
            _measured(look, lambda: _listed(FolderConfig(uri=str(folder))), plain)
        plain = _measured("tarfile", lambda: _headers(tars))
        for look in ("a look at tars", "another look"):
            _measured(
                look, lambda: _listed(WebDatasetConfig(type="webdataset", uri=str(tars))), plain
            )


def _measured(what: str, work: Callable[[], int], plain: float | None = None) -> float:
    begun = time.process_time()
    count = work()
    spent = time.process_time() - begun
    ratio = f", {spent / plain:.2f} of the peer" if plain else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{what}: {count:,} images, {spent:.2f} processor-seconds{ratio}; peak {peak} MiB")
    return spent


def _listed(config: FolderConfig | WebDatasetConfig) -> int:
    return sum(1 for _ in open_source(config).list())


def _walked(folder: Path) -> int:
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            Path(parent, name).stat()
            found += 1
    return found


def _headers(folder: Path) -> int:
    found = 0
    for path in folder.iterdir():
        with tarfile.open(path) as tar:
            found += len(tar.getmembers())
    return found


def _write_files(folder: Path, count: int) -> None:
    for number in range(count):
        below = folder / f"{number // IN_A_FOLDER:05d}"
        if number % IN_A_FOLDER == 0:
            below.mkdir(parents=True)
        (below / f"{number:08d}.jpg").touch()


def _write_tars(folder: Path, count: int) -> None:
    folder.mkdir()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(IN_A_TAR):
            member = tarfile.TarInfo(f"{number:05d}.jpg")
            member.size = BYTES
            tar.addfile(member, io.BytesIO(bytes(BYTES)))
    for number in range(count):
        (folder / f"{number:05d}.tar").write_bytes(file.getvalue())


if __name__ == "__main__":
    main()
