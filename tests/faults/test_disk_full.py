"""The disk is full at each writer, and has room again."""

import os
import shutil
import subprocess
import time
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
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect
from clip_assets.postgres.faults import explained
from clip_assets.postgres.migrate import migrate
from clip_assets.settings import Settings
from clip_assets.snapshot import make
from clip_assets.snapshot import manifest as manifests
from clip_assets.snapshot.manifest import Manifest
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store.atomic import TEMPORARY
from clip_assets.store.objects import Objects
from tests.integration.photos import ERASED, Photos
from tests.integration.support import COLLECTION
from tests.integration.verify.test_verify import verified

MOUNT, PATIENCE_SECONDS = shutil.which("mount"), 120
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or MOUNT is None, reason="needs root, to mount a small disk"
)


@pytest.fixture
def mount(open_folder: Callable[[], Path]) -> Iterator[Callable[[int], Path]]:
    """Makes disks of a given number of MiB that every user can open."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        folder = open_folder() / "disk"
        folder.mkdir()
        done = subprocess.run(
            [str(MOUNT), "-t", "tmpfs", "-o", f"size={size}m,mode=777", "tmpfs", str(folder)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"this machine does not let root mount a disk: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(mount: Callable[[int], Path]) -> Path:
    return mount(8)


@pytest.fixture
def on_disk(photos: Photos, small_disk: Path) -> Photos:
    """The collection, live, with its files on the small disk."""
    root = small_disk / COLLECTION
    shutil.copytree(photos.objects.root, root)
    return Photos(Objects(str(root)), photos.pictures, photos.dsn, photos.spec)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Keep the disk full inside the `with` block."""
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
    again = catalog.renew(photos.objects, COLLECTION, ["00001"])
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


@pytest.mark.promise("Half-written files are never read")
def test_a_snapshot_for_which_there_is_no_room_is_no_snapshot(
    photos: Photos, mount: Callable[[int], Path], tmp_path: Path
) -> None:
    """The previous snapshot stays the newest; once there is room, the next one replaces it."""
    disk = mount(100)
    to = Objects(str(disk / "snapshots"))
    settings = Settings(home=tmp_path, data=str(Path(photos.objects.root).parent))

    def snapshot() -> Manifest:
        with psycopg.connect(photos.dsn, autocommit=True) as connection:
            return make.make(connection, settings, COLLECTION, to, lambda *_: None)

    before = snapshot()
    with full(disk), pytest.raises(ClipAssetsError, match="Free some space"):
        snapshot()
    assert manifests.read(str(disk / "snapshots"))[1] == before
    after = snapshot()
    assert manifests.read(str(disk / "snapshots"))[1] == after


def _address(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the server in that folder, which is started if it does not run."""
    address = str(embedded.start(cluster).get_uri())
    monkeypatch.setenv("DATABASE_URL", address)
    return address


def _recovered(address: str) -> psycopg.Connection:
    """A connection, as soon as the server has restarted by itself."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.mark.promise("Each shard is loaded exactly once")
@pytest.mark.parametrize("of", ["tables", "log"])
def test_a_full_disk_of_the_database_is_one_sentence_and_no_harm(
    photos: Photos,
    mount: Callable[[int], Path],
    open_folder: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    of: str,
) -> None:
    """Without room for a table, the load is refused; without room for its log, the server stops.
    The next update, once there is room, gives a sound release."""
    disk = mount(200 if of == "tables" else 48)
    cluster = (disk if of == "tables" else open_folder()) / "postgres"
    with connect(_address(cluster, monkeypatch)) as connection:
        migrate(connection)
    if of == "log":
        embedded.start(cluster)._cleanup()
        subprocess.run(["mv", cluster / "pg_wal", disk], check=True)  # keeps the owner
        (cluster / "pg_wal").symlink_to(disk / "pg_wal")
    with (
        psycopg.connect(_address(cluster, monkeypatch), autocommit=True) as connection,
        full(disk),
        pytest.raises(psycopg.Error) as refused,
    ):
        photos.publish(connection)
        # The log has a segment of 16 MB, which is more than these pictures need.
        connection.execute(
            "CREATE TABLE filler AS SELECT repeat(md5('x'), 30) FROM generate_series(1, 50000)"
        )
    assert str(explained(refused.value)).startswith(
        ("Postgres ran out of a resource", "The connection to Postgres was lost")
    )
    with _recovered(_address(cluster, monkeypatch)) as connection:
        migrate(connection)
        photos.publish(connection)
        assert connection.execute(f"SELECT count(*) FROM {COLLECTION}.images").fetchone() == (30,)
    assert verified(photos)["faults"] == []
