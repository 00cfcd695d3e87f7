"""The disk is full at each writer, and has room again."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.erasure.erase import erase
from clip_assets.errors import ClipAssetsError
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.node.job import write as write_job
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import TEMPORARY, Objects
from tests.integration.photos import ERASED, Photos
from tests.integration.support import COLLECTION
from tests.integration.verify.test_verify import verified

MOUNT = shutil.which("mount")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or MOUNT is None, reason="needs root, to mount a small disk"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        [str(MOUNT), "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this machine does not let root mount a disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def on_disk(photos: Photos, small_disk: Path) -> Photos:
    """The collection, live, with its files on the small disk."""
    root = small_disk / COLLECTION
    shutil.copytree(photos.objects.root, root)
    return Photos(Objects(str(root)), photos.pictures, photos.dsn, photos.spec)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No room for anything."""
    fill = disk / ".fill"
    with fill.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    fill.unlink()


def list_images(photos: Photos) -> None:
    source = FolderConfig(uri=str(photos.pictures))
    listed = [*open_source(source).list()][1:]
    catalog.refresh(photos.objects, COLLECTION, source, listed, 10)


def embed_images(photos: Photos) -> None:
    again = catalog.renew(photos.objects, photos.head, ["00001"])
    job = EmbedJob(
        job_id="again", run_id="run-2", collection=COLLECTION, model=photos.spec,
        shards=tuple(shard.shard for shard in again.shards), part_rows=7,
    )  # fmt: skip
    write_job(photos.objects, job)
    embed.run(photos.objects, job)


def erase_an_image(photos: Photos) -> None:
    with psycopg.connect(photos.dsn, autocommit=True) as connection:
        erase(connection, photos.objects, [ERASED], "", lambda _: None)


@pytest.mark.promise("Half-written files are never read")
@pytest.mark.parametrize("write", [list_images, embed_images, erase_an_image])
def test_a_full_disk_is_one_sentence_and_no_harm(
    on_disk: Photos, small_disk: Path, write: Callable[[Photos], None]
) -> None:
    """The error names the remedy, nothing is half written, and the same call works afterwards."""
    with full(small_disk):
        with pytest.raises(ClipAssetsError, match="Free some space"):
            write(on_disk)
        left = [path for path in small_disk.rglob(f"*{TEMPORARY}*") if path.is_file()]
        assert left == []
    write(on_disk)
    with psycopg.connect(on_disk.dsn, autocommit=True) as connection:
        embed_images(on_disk)
        on_disk.publish(connection)
    assert verified(on_disk)["faults"] == []
