"""Thirty pictures, two of them identical, live in a database of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from clip_assets.catalog import Catalog, read
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.index.vector_type import VectorType
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.model import ModelSpec
from clip_assets.release import release
from clip_assets.search.search import Release
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion
from tests.conftest import until_dropped
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION

IMAGES = 30
ERASED, COPY, OTHER = "00007.png", "00023.png", "00008.png"


@dataclass(frozen=True)
class Photos:
    """A collection: its files, the source pictures and its database."""

    objects: Objects
    pictures: Path
    dsn: str
    spec: ModelSpec

    @property
    def head(self) -> Catalog:
        head = read(self.objects)
        assert head
        return head

    @property
    def current(self) -> list[ShardVersion]:
        return [shard.at for shard in self.head.shards]

    def publish(
        self, connection: psycopg.Connection, vector_type: VectorType = VectorType.HALFVEC
    ) -> Release:
        """Reconcile, build, judge and publish."""
        asked = IndexSpec(COLLECTION, self.spec, vector_type)
        index = load.reconcile(connection, self.objects, asked, self.current).index
        build.build(connection, index, IMAGES)
        judge.judge(connection, self.objects, index, Wanted(recall=0.95))
        index = tables.find(connection, COLLECTION, self.spec.slug, vector_type)
        return release.publish(connection, index, "run-release")[0]


@pytest.fixture(scope="session")
def embedded(
    tmp_path_factory: pytest.TempPathFactory,
    write_pictures: Callable[..., Path],
    tiny_spec: ModelSpec,
) -> Path:
    """Pictures and data, embedded once for all tests."""
    folder = tmp_path_factory.mktemp("erasure")
    pictures = write_pictures(folder / "pictures", IMAGES)
    shutil.copy(pictures / ERASED, pictures / COPY)
    embed_pictures(folder / "data" / COLLECTION, pictures, tiny_spec, shard_size=10)
    return folder


@pytest.fixture(scope="session")
def published(new_database: Callable[..., str], embedded: Path, tiny_spec: ModelSpec) -> str:
    """Address of a database in which they are live, for tests to copy."""
    address = new_database()
    objects = Objects(str(embedded / "data" / COLLECTION))
    with psycopg.connect(address, autocommit=True) as connection:
        Photos(objects, embedded / "pictures", address, tiny_spec).publish(connection)
    return address


@pytest.fixture
def database(
    new_database: Callable[..., str], published: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Address of a copy, which DATABASE_URL names too."""
    with until_dropped(new_database(published)) as address:
        monkeypatch.setenv("DATABASE_URL", address)
        yield address


@pytest.fixture
def photos(embedded: Path, tmp_path: Path, database: str, tiny_spec: ModelSpec) -> Photos:
    """A live collection; its files and database belong to the test, the pictures are shared."""
    data = tmp_path / "data" / COLLECTION
    shutil.copytree(embedded / "data" / COLLECTION, data)
    return Photos(Objects(str(data)), embedded / "pictures", database, tiny_spec)


@pytest.fixture
def connection(photos: Photos) -> Iterator[psycopg.Connection]:
    with psycopg.connect(photos.dsn, autocommit=True) as connection:
        yield connection
