"""`python -m clip_assets.cli.index` does without Dagster what two of its assets do."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from clip_assets import catalog
from clip_assets.index.vector_type import VectorType
from clip_assets.search import search
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from tests.integration.support import COLLECTION, Made

ByHand = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def by_hand(python: str) -> ByHand:
    """Runs the program on a collection, with more options."""

    def run(made: Made, *more: str) -> "subprocess.CompletedProcess[str]":
        assert made.objects.folder
        spec = made.model.spec
        return subprocess.run(
            [python, "-m", "clip_assets.cli.index", "--data", str(made.objects.folder.parent),
             "--collection", COLLECTION, "--model", spec.name, "--pretrained", str(spec.pretrained),
             *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def listed(made: Made, write_pictures: Callable[..., Path], tmp_path: Path) -> Made:
    """The made-up shards have a catalog, with one shard more than is embedded."""
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 5)))
    catalog.refresh(made.objects, COLLECTION, source, open_source(source).list(), 1)
    return made


def test_it_loads_judges_and_publishes(
    by_hand: ByHand, connection: psycopg.Connection, listed: Made
) -> None:
    """One command brings what is committed live; the next one finds nothing to load, and one of
    another type an index of its own to load."""
    first = by_hand(listed)
    assert first.stdout.startswith("loaded 4 shards, unchanged 0 shards, missing 1 shards\n")
    assert search.live(connection, COLLECTION).rows == 200
    assert by_hand(listed).stdout.startswith("loaded 0 shards, unchanged 4 shards")
    wide = by_hand(listed, "--vector-type", "vector")
    assert wide.stdout.startswith("loaded 4 shards, unchanged 0 shards")
    assert search.live(connection, COLLECTION).vector_type == VectorType.VECTOR


def test_it_publishes_nothing_that_is_found_wanting(
    by_hand: ByHand, listed: Made, database: str
) -> None:
    """What is not reached is an error that says what was measured."""
    refused = by_hand(listed, "--caption-recall", "0.5")
    assert refused.returncode == 2
    assert "\nerror: Not published: captions find their own image in 0.0" in refused.stderr


def test_without_a_catalog_it_says_what_to_run(by_hand: ByHand, made: Made, database: str) -> None:
    """The error names the command that makes the catalog."""
    assert "Run clip_assets.node.catalog first" in by_hand(made).stderr
