"""Shards are chosen by number."""

import pytest

from clip_assets import catalog
from clip_assets.catalog import Catalog, Shard
from clip_assets.errors import StoreError
from clip_assets.source.config import FolderConfig


def test_shards_are_selected_by_number_and_range() -> None:
    """Ranges include both ends; an unknown shard is an error that says how many exist."""
    shards = [Shard(shard=f"{n:05d}", version=1, digest="", rows=10, live=10) for n in range(5)]
    source = FolderConfig(uri="/nowhere")
    head = Catalog(collection="photos", source=source, shards=tuple(shards))
    assert catalog.select(head, "0..1,4") == ["00000", "00001", "00004"]
    assert len(catalog.select(head, "all")) == 5
    with pytest.raises(StoreError, match="no shard 00005; it has 5"):
        catalog.select(head, "3..5")
    with pytest.raises(StoreError, match="is not a selection of shards"):
        catalog.select(head, "some")
