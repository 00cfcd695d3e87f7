"""The asset `search_index` and its checks report damage and its repair."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from clip_assets import catalog
from clip_assets.assets.search_index import search_index_asset
from clip_assets.checks.search_index import search_index_checks
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.search import search
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests.integration.support import COLLECTION, Made


@pytest.fixture
def photos(
    released: Made,
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Made:
    """The live collection with a catalog, where the settings look for it."""
    assert released.objects.folder
    released.objects.folder.rename(tmp_path / COLLECTION)
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path))
    moved = Made(Objects(str(tmp_path / COLLECTION)))
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 4)))
    catalog.refresh(moved.objects, COLLECTION, source, open_source(source).list(), 1)
    return moved


def _materialized(made: Made) -> tuple[dict[str, object], dg.AssetCheckEvaluation]:
    """The metadata of a materialization, and the first check's result."""
    collection = Collection(name=COLLECTION, spec=made.model.spec, wanted_recall=0.9)
    done = dg.materialize(
        [search_index_asset(collection), *search_index_checks(collection)],
        resources={"clip_assets_installation": Installation()},
    )
    (event,) = done.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    checks = {one.check_name: one for one in done.get_asset_check_evaluations()}
    return metadata, checks["matches_embeddings"]


def test_a_repair_is_in_metadata_and_check(connection: psycopg.Connection, photos: Made) -> None:
    """They say how many shards and which; the next materialization has none to repair."""
    table = f"clip_assets.{search.live(connection).table}"
    connection.execute(f"DELETE FROM {table} WHERE row = 3 AND shard < '00002'".encode())
    metadata, check = _materialized(photos)
    assert (metadata["shards_repaired"], metadata["repaired"]) == (2, ["00000", "00001"])
    assert check.passed
    assert str(check.description).endswith("Damaged rows of 2 shards were reloaded.")
    metadata, check = _materialized(photos)
    assert metadata["shards_repaired"] == 0
    assert check.description == "4 of 4 shards match their commits."


def test_damage_fails_the_check(connection: psycopg.Connection, photos: Made) -> None:
    """Run alone, the check says what is damaged and what to do."""
    collection = Collection(name=COLLECTION, spec=photos.model.spec, wanted_recall=0.9)
    matches, *_ = search_index_checks(collection)
    table = f"clip_assets.{search.live(connection).table}"
    connection.execute(f"DELETE FROM {table} WHERE row = 3 AND shard < '00002'".encode())
    done = dg.materialize(
        [matches],
        selection=dg.AssetSelection.all_asset_checks(),
        resources={"clip_assets_installation": Installation()},
        raise_on_error=False,
    )
    (check,) = done.get_asset_check_evaluations()
    assert not check.passed
    assert "Damaged: 2 shards; materialize `search_index` again." in str(check.description)
