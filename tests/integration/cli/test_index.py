"""`clip-assets index` does the work of two assets without Dagster."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from clip_assets import catalog
from clip_assets.cli.app import app
from clip_assets.index import tables
from clip_assets.index.vector_type import VectorType
from clip_assets.search import search
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from tests.integration.support import COLLECTION, Made, Model, find, publish

WITHOUT_DAGSTER = """
import sys
sys.modules.update(dict.fromkeys(["dagster", "sky", "torch", "open_clip"]))
from clip_assets.cli.app import app
app()
"""


def arguments(made: Made, *more: str) -> list[str]:
    assert made.objects.folder
    spec = made.model.spec
    return ["index", COLLECTION, "--data", str(made.objects.folder.parent),
            "--model", spec.name, "--pretrained", str(spec.pretrained), *more]  # fmt: skip


def index(made: Made, *more: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(app, arguments(made, *more))


@pytest.fixture
def listed(made: Made, write_pictures: Callable[..., Path], tmp_path: Path) -> Made:
    """The made-up shards have a catalog, with one shard more than is embedded."""
    source = source_config("folder", str(write_pictures(tmp_path / "pictures", 5)))
    catalog.refresh(made.objects, COLLECTION, source, open_source(source).list(), 1)
    return made


def test_it_loads_judges_and_publishes(connection: psycopg.Connection, listed: Made) -> None:
    """One command brings what is committed live, on a machine that has neither Dagster nor
    SkyPilot nor torch; the next one finds nothing to load, and one of another type an index of its
    own to load."""
    first = subprocess.run(
        [sys.executable, "-c", WITHOUT_DAGSTER, *arguments(listed)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert first.stdout.startswith("loaded 4 shards, unchanged 0 shards, missing 1 shards\n")
    assert search.live(connection, COLLECTION).rows == 200
    assert index(listed).stdout.startswith("loaded 0 shards, unchanged 4 shards")
    wide = index(listed, "--vector-type", "vector")
    assert wide.stdout.startswith("loaded 4 shards, unchanged 0 shards")
    assert search.live(connection, COLLECTION).vector_type == VectorType.VECTOR


def test_superseded_tables_go(connection: psycopg.Connection, listed: Made) -> None:
    """Indexes beyond those to keep are dropped, like under Dagster."""
    models = [replace(listed, model=Model(name, weights=name * 64)) for name in "abcd"]
    for made in models:
        made.add("00000")
        publish(connection, made)
    numbers = [find(connection, made).index_id for made in models]
    assert existing(connection) == numbers
    done = index(models[-1])
    assert f"dropped superseded tables: {tables.table_name(numbers[0])}\n" in done.stdout
    assert existing(connection) == numbers[1:]
    index(models[-1], "--keep", "2")
    assert existing(connection) == numbers[2:]


def existing(connection: psycopg.Connection) -> list[int]:
    """Numbers of the indexes that have a table."""
    rows = connection.execute(
        "SELECT index_id FROM clip_assets.index "
        "WHERE to_regclass('clip_assets.images_' || index_id) IS NOT NULL ORDER BY index_id"
    )
    return [number for (number,) in rows]


def test_it_publishes_nothing_that_is_found_wanting(listed: Made, database: str) -> None:
    """If the target is not reached, the error says what was measured."""
    refused = index(listed, "--caption-recall", "0.5")
    assert refused.exit_code == 1
    assert "\nerror: Not published: captions find their own image in 0.0" in refused.stderr


def test_without_a_catalog_it_says_what_to_run(made: Made, database: str) -> None:
    """The error names the command that makes the catalog."""
    refused = index(made)
    assert refused.exit_code == 1
    assert "or without Dagster run clip_assets.node.catalog" in refused.stderr


def test_weights_that_are_not_named(made: Made, database: str) -> None:
    """An architecture without weights is an error in one sentence, not a traceback."""
    refused = CliRunner(mix_stderr=False).invoke(app, ["index", COLLECTION, "--model", "ViT-B-32"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: model ViT-B-32: weights must come from")


def test_the_name_of_version_0_1_still_works(listed: Made, database: str) -> None:
    """Task files that call `python -m clip_assets.index --collection …` need no change."""
    assert listed.objects.folder
    spec = listed.model.spec
    done = subprocess.run(
        [sys.executable, "-m", "clip_assets.index", "--data", str(listed.objects.folder.parent),
         "--collection", COLLECTION, "--model", spec.name, "--pretrained", str(spec.pretrained)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "release 1 is live: 200 images" in done.stdout
