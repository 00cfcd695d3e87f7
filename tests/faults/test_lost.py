"""Data folder or database lost: what can be made again is, and what answers is never wrong."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from clip_assets import catalog
from clip_assets.component.image_collection import ImageCollection
from clip_assets.erasure.erase import erase
from clip_assets.errors import DatabaseError
from clip_assets.index import owner
from clip_assets.search import search
from clip_assets.source.config import FolderConfig
from clip_assets.store.objects import Objects
from tests.faults.orchestrator import Orchestrator
from tests.integration.photos import COPY, ERASED, IMAGES, Photos
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION
from tests.integration.verify.test_verify import run, verified

GONE = {"00001.png", "00002.png", "00029.png"}


def names(connection: psycopg.Connection) -> set[str]:
    found = connection.execute(f"SELECT image_id FROM {COLLECTION}.images").fetchall()
    return {name for (name,) in found}


def lose_the_data(photos: Photos, to: Path, pictures: Path) -> Photos:
    """Delete the data folder and embed the images again at `to`, in other shards."""
    with psycopg.connect(photos.dsn, autocommit=True) as connection:
        owner.claim(connection, photos.objects, COLLECTION)
    shutil.rmtree(photos.objects.root)
    objects = embed_pictures(to, pictures, photos.spec, shard_size=7)
    return replace(photos, objects=objects)


@pytest.fixture
def fewer(photos: Photos, tmp_path: Path) -> Path:
    """A copy of the source without three of its pictures."""
    pictures = Path(shutil.copytree(photos.pictures, tmp_path / "pictures"))
    for name in GONE:
        (pictures / name).unlink()
    return pictures


@pytest.mark.promise("What is lost is made again from what is left")
def test_an_index_whose_data_was_lost_is_handed_over(
    photos: Photos, connection: psycopg.Connection, tmp_path: Path, fewer: Path
) -> None:
    """Recreated elsewhere, it is refused until a repair. The old release answers until the next
    one, which no longer has the deleted images."""
    before = names(connection)
    anew = lose_the_data(photos, tmp_path / "elsewhere" / COLLECTION, fewer)
    with pytest.raises(DatabaseError, match="verify --repair"):
        anew.publish(connection)
    assert "is made of the data that was at" in str(verified(anew)["faults"])
    run(anew, "--sample", "0", "--repair")
    assert names(connection) == before
    anew.publish(connection)
    assert names(connection) == before - GONE
    assert verified(anew)["faults"] == []


def test_data_made_anew_at_the_same_place_succeeds_what_was_lost(
    photos: Photos, connection: psycopg.Connection, fewer: Path
) -> None:
    """On one machine no extra command is needed, although the images are in other shards."""
    before = names(connection)
    anew = lose_the_data(photos, Path(photos.objects.root), fewer)
    anew.publish(connection)
    assert names(connection) == before - GONE
    assert verified(anew)["faults"] == []


@pytest.mark.promise("Erased images do not come back")
def test_an_erased_image_does_not_come_back_with_the_files(
    photos: Photos, connection: psycopg.Connection
) -> None:
    """The database still has the erasure when the files that recorded it are lost."""
    erase(connection, photos.objects, [ERASED], "", lambda _: None)
    left = names(connection)
    anew = lose_the_data(photos, Path(photos.objects.root), photos.pictures)
    anew.publish(connection)
    assert names(connection) == left
    assert len(left) == IMAGES - 2


def test_data_that_is_still_there_keeps_its_index(
    photos: Photos, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """A second installation cannot take over the index, whatever it repairs."""
    other = Objects(str(tmp_path / "other" / COLLECTION))
    catalog.refresh(other, COLLECTION, FolderConfig(uri=str(photos.pictures)), [], 10)
    with pytest.raises(DatabaseError, match="is still there"):
        owner.hand_over(connection, other, COLLECTION)
    assert owner.former(connection, photos.objects, COLLECTION) is None


@pytest.mark.promise("What is lost is made again from what is left")
def test_a_lost_database_is_filled_again_from_the_files(
    photos: Photos, connection: psycopg.Connection, new_database: Callable[..., str]
) -> None:
    """Nothing is embedded, and every search answers as before."""

    def answers(database: psycopg.Connection) -> list[list[tuple[str, float]]]:
        live = search.live(database, COLLECTION)
        vectors = [search.vector_of(database, live, f"{n:05d}.png") for n in range(IMAGES)]
        return [
            [(hit.image_id, hit.score) for hit in search.search(database, live, vector, 10).hits]
            for vector in vectors
            if vector is not None
        ]

    before = answers(connection)
    with psycopg.connect(new_database(), autocommit=True) as empty:
        photos.publish(empty)
        assert answers(empty) == before


@pytest.mark.promise("What is lost is made again from what is left")
@pytest.mark.parametrize("lost", ["data", "database"])
def test_what_is_lost_together_with_dagsters_storage(
    photos: Photos,
    connection: psycopg.Connection,
    new_database: Callable[..., str],
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    """An empty instance makes what is lost again and records what is left; what was erased stays
    erased, and everything else answers."""
    erase(connection, photos.objects, [ERASED], "", lambda _: None)
    before = names(connection)
    if lost == "data":
        shutil.rmtree(photos.objects.root)
    else:
        photos = replace(photos, dsn=new_database())
    monkeypatch.setenv("DATABASE_URL", photos.dsn)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(Path(photos.objects.root).parent))
    (tmp_path / "dagster").mkdir()
    made = ImageCollection(
        name=COLLECTION, source=FolderConfig(uri=str(photos.pictures)), spec=photos.spec,
        shard_size=10,
    )  # fmt: skip
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        for step in Orchestrator(instance, made).steps:
            step()
        recorded = instance.get_materialized_partitions(made.embeddings_key)
    assert recorded == {shard.shard for shard in photos.head.shards}
    with psycopg.connect(photos.dsn, autocommit=True) as again:
        assert names(again) == before
        if lost == "data":  # the files have the erased images again, and no receipt
            assert "1 erasures are known to the database" in str(verified(photos)["faults"])
            (receipt,) = erase(again, photos.objects, [], "", lambda _: None)
            assert {image.image_id for image in receipt.images} == {ERASED, COPY}
            photos.publish(again)
            assert names(again) == before
    assert verified(photos)["faults"] == []
