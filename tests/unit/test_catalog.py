"""The catalog is cut once, grows at its end, and never changes silently."""

from dataclasses import replace
from pathlib import Path

import pytest

from clip_assets import catalog
from clip_assets.catalog import Catalog
from clip_assets.errors import StoreError
from clip_assets.source import ImageRef
from clip_assets.source.config import FolderConfig
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


def test_same_listing_changes_nothing(objects: Objects) -> None:
    """Refreshing over an unchanged source gives the same head."""
    assert refresh(objects, refs(0, 25)) == refresh(objects, refs(0, 25))


def test_order_is_the_listing_order(objects: Objects) -> None:
    """Rows stand in the order the source listed them, over shard borders."""
    head = refresh(objects, refs(0, 25))
    assert image_ids(objects, head) == [ref.image_id for ref in refs(0, 25)]
    assert [shard.rows for shard in head.shards] == [10, 10, 5]


def test_new_images_open_new_shards(objects: Objects) -> None:
    """Images that sort before the others still land behind them; old shards stay as they are."""
    before = refresh(objects, refs(10, 25))
    after = refresh(objects, refs(0, 25))
    assert after.shards[:2] == before.shards
    assert [shard.shard for shard in after.shards] == ["00000", "00001", "00002"]
    assert image_ids(objects, after)[-10:] == [ref.image_id for ref in refs(0, 10)]


def test_changed_image_makes_a_new_version_of_its_shard_only(objects: Objects) -> None:
    """A changed file changes the digest of its shard and no other."""
    before = refresh(objects, refs(0, 25))
    listed = refs(0, 25)
    listed[12] = replace(listed[12], etag="changed")
    after = refresh(objects, listed)
    assert [shard.version for shard in after.shards] == [1, 2, 1]
    assert after.shards[1].digest != before.shards[1].digest
    assert after.listing != before.listing


def test_vanished_image_stays_as_a_tombstone(objects: Objects) -> None:
    """Rows keep their number; a vanished image is no longer live, and lives again if it returns."""
    refresh(objects, refs(0, 20))
    gone = refresh(objects, refs(1, 20))
    assert (gone.shards[0].rows, gone.shards[0].live) == (10, 9)
    assert catalog.read_shard(objects, gone.shards[0].at)["tombstone"].to_pylist()[0] is True
    back = refresh(objects, refs(0, 20))
    assert (back.shards[0].version, back.images) == (3, 20)


def test_select(objects: Objects) -> None:
    """Ranges name both ends; a shard that is not there is an error that says what there is."""
    head = refresh(objects, refs(0, 45))
    assert catalog.select(head, "0..1,4") == ["00000", "00001", "00004"]
    assert len(catalog.select(head, "all")) == 5
    with pytest.raises(StoreError, match="no shard 00005; it has 5"):
        catalog.select(head, "3..5")
    with pytest.raises(StoreError, match="names no shards"):
        catalog.select(head, "some")
