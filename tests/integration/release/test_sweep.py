"""A sweep deletes replaced versions of shards, and nothing that is still needed."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from clip_assets.erasure.erase import erase
from clip_assets.errors import DatabaseError, StoreError
from clip_assets.lake.lake import Lake
from clip_assets.release import sweep as sweeping
from clip_assets.release.sweep import Swept, sweep
from clip_assets.search import search
from clip_assets.store import commit as commits
from clip_assets.store import erased, paths
from clip_assets.store.objects import Objects
from clip_assets.verify.verify import verify
from tests.integration.photos import (
    ERASED,
    Photos,
    connection,
    database,
    embedded,
    photos,
    published,
)
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION

__all__ = ["connection", "database", "embedded", "photos", "published"]

NOW = timedelta()


@pytest.fixture
def changed(photos: Photos, tmp_path: Path) -> Photos:
    """The pictures have moved, which made version 2 of each shard, and then one has changed, which
    made version 3 of shard 00000."""
    pictures = Path(shutil.copytree(photos.pictures, tmp_path / "pictures"))
    for other in ("00011.png", "00012.png"):
        shutil.copy(pictures / other, pictures / "00001.png")
        embed_pictures(Path(photos.objects.root), pictures, photos.spec, shard_size=10)
    return Photos(photos.objects, pictures, photos.dsn, photos.spec)


def versions(photos: Photos) -> dict[str, set[int | None]]:
    """The versions of shard 00000 of which there are files, by folder."""
    files = [entry.path.split("/") for entry in photos.objects.list()]
    return {
        "catalog": {paths.version(f[2]) for f in files if f[:2] == ["catalog", "00000"]},
        "embeddings": {paths.version(f[3]) for f in files if f[0] == "embeddings" and len(f) == 5
                       and f[2] == "00000"},
    }  # fmt: skip


def swept(connection: psycopg.Connection, photos: Photos, keep: timedelta = NOW) -> Swept:
    return sweep(connection, photos.objects, COLLECTION, keep)


def faults(connection: psycopg.Connection, photos: Photos) -> tuple[object, ...]:
    return verify(photos.objects, photos.head, connection, lambda *_: None).faults


@pytest.mark.promise("Files that nothing needs are deleted")
def test_what_is_loaded_and_what_is_newest_stay(
    changed: Photos, connection: psycopg.Connection
) -> None:
    """The live release has rows of version 1, the newest is 3: 2 goes, and 1 once 3 is loaded."""
    done = swept(connection, changed)
    assert versions(changed) == {"catalog": {3}, "embeddings": {1, 3}}
    assert (done.versions, done.loaded, done.recent) == (5, 3, 0)
    assert done.bytes > 0
    assert faults(connection, changed) == ()
    changed.publish(connection)
    assert swept(connection, changed).versions == 3
    assert versions(changed) == {"catalog": {3}, "embeddings": {3}}
    assert faults(connection, changed) == ()
    assert swept(connection, changed).files == 0


def test_what_was_replaced_lately_stays(changed: Photos, connection: psycopg.Connection) -> None:
    """It counts when a version was replaced, not when it was made, by the clock of the store."""
    day = 24 * 3600
    root = Path(changed.objects.root)
    for entry in changed.objects.list():  # version 2 replaced 1 nine days ago, 3 replaced 2 today
        age = 0 if "v00003-" in entry.path else 9 * day
        os.utime(root / entry.path, (entry.modified - age,) * 2)
    changed.publish(connection)
    assert (swept(connection, changed, timedelta(days=7)).recent, versions(changed)) == (
        2,
        {"catalog": {2, 3}, "embeddings": {2, 3}},
    )


def test_the_version_before_a_damaged_one_stays(
    changed: Photos, connection: psycopg.Connection
) -> None:
    """Until the shard is sound again, nothing of it is deleted."""
    changed.publish(connection)
    newest = commits.newest_of(changed.objects, changed.spec.slug, "00000")
    assert newest
    part = commits.read_path(changed.objects, newest).parts[0]
    changed.objects.put(part.path, changed.objects.get(part.path)[:-1])
    before = versions(changed)
    swept(connection, changed)
    assert versions(changed) == before


def test_an_older_catalog_is_no_reason_to_delete(
    changed: Photos, connection: psycopg.Connection
) -> None:
    """A catalog that was restored from a copy names an older version, which stays."""
    changed.publish(connection)
    older = changed.head.shards[0]
    first = next(e for e in changed.objects.list("catalog/00000") if "v00001-" in e.path)
    digest = first.path.rsplit("-", 1)[1].removesuffix(".parquet")
    shards = (older.model_copy(update={"version": 1, "digest": digest}), *changed.head.shards[1:])
    head = changed.head.model_copy(update={"shards": shards})
    changed.objects.put(paths.CATALOG, head.model_dump_json().encode())
    before = versions(changed)
    swept(connection, changed)
    assert versions(changed) == before


def test_a_database_restored_from_an_old_copy_is_behind(
    changed: Photos,
    connection: psycopg.Connection,
    published: str,
    new_database: Callable[..., str],
) -> None:
    """Its rows are of versions that are gone; that is no fault, and its next update heals it."""
    with psycopg.connect(new_database(published), autocommit=True) as restored:
        changed.publish(connection)
        swept(connection, changed)
        found = verify(changed.objects, changed.head, restored, lambda *_: None)
        assert found.faults == ()
        assert "3 shards have newer versions" in str(found.behind)
        changed.publish(restored)
        assert faults(restored, changed) == ()


def test_without_its_index_nothing_is_deleted(
    changed: Photos, connection: psycopg.Connection, new_database: Callable[..., str]
) -> None:
    """A database without the collection, or with other data, does not show what is in use."""
    with (
        psycopg.connect(new_database(), autocommit=True) as other,
        pytest.raises(DatabaseError, match="Set DATABASE_URL"),
    ):
        swept(other, changed)
    elsewhere = Objects(f"{changed.objects.root}-elsewhere")
    with pytest.raises(DatabaseError, match="is made of the data at"):
        sweep(connection, elsewhere, COLLECTION, NOW)


@pytest.mark.promise("Erased images do not come back")
def test_an_interrupted_erasure_comes_first(
    changed: Photos, connection: psycopg.Connection
) -> None:
    """The sweep refuses until the erasure is complete; afterwards nothing is left of the image."""
    erase(connection, changed.objects, [ERASED], "", lambda _: None)
    (receipt,) = erased.receipts(changed.objects)
    changed.objects.delete(erased.receipt_path(receipt.request.erasure))
    with pytest.raises(StoreError, match="clip-assets erase"):
        swept(connection, changed)
    erase(connection, changed.objects, [], "", lambda _: None)
    swept(connection, changed)
    with Lake(changed.objects).connect() as lake:
        left = lake.execute("SELECT count(*) FROM embeddings WHERE image_id = ?", [ERASED])
        assert left.fetchone() == (0,)
    assert faults(connection, changed) == ()


def test_what_killed_writers_left_is_deleted(
    photos: Photos, connection: psycopg.Connection
) -> None:
    """Temporary files of dead writers are deleted; those of an active writer stay."""
    folder = Path(photos.objects.root) / "catalog"
    for name, age in (("old", 2), ("new", 0)):
        file = folder / f".tmp-{name}"
        file.write_bytes(b"half")
        os.utime(file, (photos.objects.now() - age * 24 * 3600,) * 2)
    assert swept(connection, photos).unfinished == 1
    assert [entry.path for entry in photos.objects.unfinished()] == ["catalog/.tmp-new"]


def test_two_sweeps_a_loader_and_a_reader_at_once(
    changed: Photos, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sweeps have found the same files before either deletes them; a release is made and the
    parquet is read meanwhile."""
    both = threading.Barrier(2)
    found = sweeping.replaced

    def together(*arguments: object) -> Iterator[object]:
        old = list(found(*arguments))  # type: ignore[arg-type]
        both.wait(600)
        return iter(old)

    monkeypatch.setattr(sweeping, "replaced", together)
    failed: list[BaseException] = []

    def one() -> None:
        try:
            with psycopg.connect(changed.dsn, autocommit=True) as own:
                swept(own, changed)
        except BaseException as error:
            failed.append(error)

    with Lake(changed.objects).connect() as lake:
        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        changed.publish(connection)
        for thread in threads:
            thread.join()
        assert failed == []
        rows = lake.execute("SELECT count(*) FROM embeddings").fetchone()
    assert rows == (search.live(connection, COLLECTION).rows,)
    assert faults(connection, changed) == ()
