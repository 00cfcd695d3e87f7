"""The catalog divides images into shards once, appends new ones, and never changes silently."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import SourceError
from clip_assets.source import ImageRef
from clip_assets.source.config import FolderConfig
from clip_assets.source.joins import JoinReport
from clip_assets.store import paths
from clip_assets.store.objects import Objects

SOURCE = FolderConfig(uri="/nowhere")


def refs(first: int, last: int) -> list[ImageRef]:
    return [
        ImageRef(f"{n:04d}.jpg", f"/nowhere/{n:04d}.jpg", f"etag-{n}") for n in range(first, last)
    ]


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(str(tmp_path))


def refresh(objects: Objects, listed: list[ImageRef]) -> Catalog:
    return catalog.refresh(objects, "photos", SOURCE, listed, shard_size=10)


def image_ids(objects: Objects, head: Catalog) -> list[str]:
    return [
        ref.image_id
        for shard in head.shards
        for ref in catalog.live_refs(catalog.read_shard(objects, shard.at))
    ]


def test_a_repeated_id_takes_no_other_images_name(objects: Objects) -> None:
    """Whatever the images are called, those that can be used keep their ids, and all ids differ."""
    names = ["a.jpg", "a.jpg", "a.jpg#2", "b.jpg", "b.jpg"]
    listed = [ImageRef(name, f"/{place}/{name}", "t") for place, name in enumerate(names)]
    listed[3] = replace(listed[3], fault="its name is not UTF-8; rename it")
    head = refresh(objects, listed)
    rows = catalog.live_refs(catalog.read_shard(objects, head.shards[0].at))
    assert len({ref.image_id for ref in rows}) == len(names)
    usable = {ref.image_id: ref.uri for ref in rows if ref.fault is None}
    assert usable == {"a.jpg": "/0/a.jpg", "a.jpg#2": "/2/a.jpg#2", "b.jpg": "/4/b.jpg"}


def test_a_repeated_id_costs_that_one_image(objects: Objects) -> None:
    """The first image keeps the id; the next has another and says where the first one is."""
    twice = [*refs(0, 3), ImageRef("0001.jpg", "/other/0001.jpg", "t")]
    head = refresh(objects, twice)
    rows = catalog.live_refs(catalog.read_shard(objects, head.shards[0].at))
    assert [ref.image_id for ref in rows] == ["0000.jpg", "0001.jpg", "0002.jpg", "0001.jpg#2"]
    assert rows[3].fault == "another image has the same id, /nowhere/0001.jpg; rename one of them"
    assert [ref.fault for ref in rows[:3]] == [None] * 3


def test_images_below_what_cannot_be_listed_stay(objects: Objects) -> None:
    """A folder that cannot be listed now keeps its images; others that are gone are tombstones."""
    names = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "c.jpg")
    refresh(objects, [ImageRef(name, f"/nowhere/{name}", "t") for name in names])
    unread = ImageRef("a/", "/nowhere/a", "", fault="the folder cannot be listed")
    head = refresh(objects, [ImageRef("c.jpg", "/nowhere/c.jpg", "t"), unread])
    assert image_ids(objects, head) == ["a/1.jpg", "a/2.jpg", "c.jpg", "a/"]


def test_a_collection_is_not_emptied_without_a_question(objects: Objects) -> None:
    """More vanished images than allowed change nothing; the error has the share and the remedy."""
    before = refresh(objects, refs(0, 32))

    def guarded(listed: list[ImageRef], source: FolderConfig = SOURCE) -> Catalog:
        return catalog.refresh(objects, "photos", source, listed, 10, max_vanished_share=0.5)

    with pytest.raises(SourceError, match=r"27 of 32 images \(84%\).*0\.5 allows\. Nothing was"):
        guarded(refs(0, 5))
    with pytest.raises(SourceError, match=r"The address of the source has changed.*set `max_van"):
        guarded(refs(100, 132), FolderConfig(uri="/elsewhere"))
    assert catalog.read(objects) == before
    assert guarded(refs(0, 16)).images == 16


def test_what_was_skipped_is_in_the_head(objects: Objects) -> None:
    """The counts are taken when the listing is complete."""
    skipped: dict[str, int] = {}

    def listed() -> Iterator[ImageRef]:
        yield from refs(0, 2)
        skipped["videos"] = 3

    head = catalog.refresh(objects, "photos", SOURCE, listed(), 10, skipped=skipped)
    assert head.skipped == {"videos": 3}


def test_an_unchanged_listing_changes_nothing(objects: Objects) -> None:
    """Refreshing the catalog of an unchanged source gives the same head."""
    assert refresh(objects, refs(0, 25)) == refresh(objects, refs(0, 25))


def test_images_keep_the_order_of_the_listing(objects: Objects) -> None:
    """Rows are in the order in which the source lists them, across shards."""
    head = refresh(objects, refs(0, 25))
    assert image_ids(objects, head) == [ref.image_id for ref in refs(0, 25)]
    assert [shard.rows for shard in head.shards] == [10, 10, 5]


def test_new_images_go_into_new_shards(objects: Objects) -> None:
    """Even images that sort before the others are appended; existing shards do not change."""
    before = refresh(objects, refs(10, 25))
    after = refresh(objects, refs(0, 25))
    assert after.shards[:2] == before.shards
    assert [shard.shard for shard in after.shards] == ["00000", "00001", "00002"]
    assert image_ids(objects, after)[-10:] == [ref.image_id for ref in refs(0, 10)]


def test_a_changed_image_gives_only_its_shard_a_new_version(objects: Objects) -> None:
    """A changed file changes the digest of its shard and of no other."""
    before = refresh(objects, refs(0, 25))
    listed = refs(0, 25)
    listed[12] = replace(listed[12], etag="changed")
    after = refresh(objects, listed)
    assert [shard.version for shard in after.shards] == [1, 2, 1]
    assert after.shards[1].digest != before.shards[1].digest
    assert after.listing != before.listing


def test_a_missing_image_becomes_a_tombstone(objects: Objects) -> None:
    """Rows keep their numbers; if the image returns, its row is live again."""
    refresh(objects, refs(0, 20))
    gone = refresh(objects, refs(1, 20))
    assert (gone.shards[0].rows, gone.shards[0].live) == (10, 9)
    assert catalog.read_shard(objects, gone.shards[0].at)["tombstone"].to_pylist()[0] is True
    back = refresh(objects, refs(0, 20))
    assert (back.shards[0].version, back.images) == (3, 20)


def test_a_catalog_restored_from_an_older_copy_takes_up_what_is_the_same(objects: Objects) -> None:
    """The same listing gives the versions that were there, whose embeddings are kept."""
    refresh(objects, refs(0, 15))
    older = objects.get(paths.CATALOG)
    newest = refresh(objects, [*refs(1, 15), *refs(20, 30)])
    objects.put(paths.CATALOG, older)
    assert refresh(objects, [*refs(1, 15), *refs(20, 30)]) == newest


def test_a_catalog_restored_from_an_older_copy_gives_no_version_twice(objects: Objects) -> None:
    """Other rows get a number after all that were ever given, so the newest commit is known."""
    refresh(objects, refs(0, 15))
    older = objects.get(paths.CATALOG)
    refresh(objects, refs(1, 15))
    objects.put(paths.CATALOG, older)
    assert refresh(objects, refs(2, 15)).shards[0].version == 3


def test_two_writers_at_once_both_count(objects: Objects) -> None:
    """While the images are listed, another process marks a shard to be embedded again."""
    refresh(objects, refs(0, 15))
    others = iter(["00001"])

    def told() -> JoinReport:
        for shard in others:
            catalog.renew(objects, "photos", [shard])
        return JoinReport()

    head = catalog.refresh(objects, "photos", SOURCE, refs(1, 25), 10, told=told)
    assert [(shard.version, shard.renewed) for shard in head.shards] == [
        (2, False),
        (2, True),
        (1, False),
    ]
    assert catalog.read(objects) == head
    assert image_ids(objects, head) == [ref.image_id for ref in refs(1, 25)]
