"""The check `whole` of `live`, which Dagster runs on demand or once a week."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

from clip_assets.component.image_collection import ImageCollection
from tests.integration.photos import Photos
from tests.integration.support import COLLECTION
from tests.integration.verify.test_verify import delete_a_row, flip_a_bit


def test_the_whole_collection_is_verified_by_a_job(
    photos: Photos, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes while everything agrees, and names each fault with its remedy when not."""
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(Path(photos.objects.root).parent))
    sound = _verified(photos)
    assert sound.passed
    assert sound.metadata["embedded"].value == sound.metadata["catalog_rows"].value == 30
    flip_a_bit(photos, connection)
    delete_a_row(photos, connection)
    broken = _verified(photos)
    assert not broken.passed
    assert broken.metadata["faults"].value == 2
    assert "embeds it again" in str(broken.description)
    assert "reloads it" in str(broken.description)


def _verified(photos: Photos) -> dg.AssetCheckEvaluation:
    collection = ImageCollection(name=COLLECTION, source=photos.head.source, spec=photos.spec)
    defs = collection.build_defs(dg.ComponentTree.for_test().load_context)
    with dg.DagsterInstance.ephemeral() as instance:
        done = defs.resolve_job_def("photos_verify").execute_in_process(instance=instance)
        (found,) = done.get_asset_check_evaluations()
    return found
