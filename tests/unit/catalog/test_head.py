"""The head of the catalog."""

from pathlib import Path

import pytest

from clip_assets import catalog
from clip_assets.errors import StoreError
from clip_assets.source.config import FolderConfig
from clip_assets.store import paths
from clip_assets.store.objects import Objects


def test_a_damaged_head_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    """Nothing is taken for an empty catalog."""
    objects = Objects(str(tmp_path))
    catalog.refresh(objects, "photos", FolderConfig(uri="/nowhere"), [], 10)
    objects.put(paths.CATALOG, objects.get(paths.CATALOG)[:-20])
    with pytest.raises(StoreError, match="Restore it from a copy of the data"):
        catalog.read(objects)
