"""The report finds the copies and the shard that were planted in real pictures, and shows them."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from clip_assets.assets.report import drift_of, report_asset
from clip_assets.cli.app import app
from clip_assets.cli.console import out
from clip_assets.collection import Collection
from clip_assets.lake.duplicates import find, thumbnails
from clip_assets.model import ModelSpec
from clip_assets.resources import Installation
from clip_assets.source.config import FolderConfig
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.objects import Objects
from tests.integration.pictures import embed_pictures
from tests.integration.support import COLLECTION, Made, image_table

COPY, RESIZED = "00090.png", "00091.png"


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory,
    write_pictures: Callable[..., Path],
    tiny_spec: ModelSpec,
) -> Objects:
    """Twenty pictures, a copy of the third and a larger version of the fifth."""
    folder = tmp_path_factory.mktemp("report")
    pictures = write_pictures(folder / "pictures", 20)
    shutil.copy(pictures / "00003.png", pictures / COPY)
    with Image.open(pictures / "00005.png") as picture:
        picture.resize((160, 160), Image.Resampling.BICUBIC).save(pictures / RESIZED)
    return embed_pictures(folder / "data" / COLLECTION, pictures, tiny_spec, shard_size=10)


def test_planted_duplicates(planted: Objects, tiny_spec: ModelSpec) -> None:
    """The copy is found by its bytes, the resized one by its vector, as the closest pair."""
    found = find(planted, tiny_spec.slug, threshold=0.9)
    assert found.exact == (("00003.png", COPY),)
    assert (found.near[0].first, found.near[0].second) == ("00005.png", RESIZED)
    assert (found.images, found.compared) == (22, 21)
    named = {name for pair in found.near for name in (pair.first, pair.second)}
    assert COPY not in named, "a copy is told once, as such"


def test_a_shard_without_images(tmp_path: Path) -> None:
    """A shard whose images were all rejected has parts, and no rows to compare."""
    made = Made(Objects(str(tmp_path)))
    made.add("00000", 0)
    made.add("00001", 20)
    found = find(made.objects, made.model.spec.slug)
    assert (found.images, found.compared) == (20, 20)


def test_thumbnails(planted: Objects, tiny_spec: ModelSpec) -> None:
    """Of the images asked for and no others, whatever parts they are in."""
    found = thumbnails(planted, tiny_spec.slug, ["00003.png", RESIZED])
    assert sorted(found) == ["00003.png", RESIZED]
    assert all(Image.open(io.BytesIO(webp)).format == "JPEG" for webp in found.values())


def test_a_planted_shard(tmp_path: Path) -> None:
    """Among ten shards of one kind, the one from another source is found from the commits."""
    made = Made(Objects(str(tmp_path)))
    centre = np.random.default_rng(5).normal(size=made.model.dim)
    for number in range(10):
        shard = f"{number:05d}"
        table = image_table(shard, 200, number, made.model.dim)
        if number == 7:
            vectors = parquet.vectors(table) + centre
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        else:
            vectors = parquet.vectors(table)
        mean = vectors.mean(axis=0)
        commit = made.add(shard, table=table)
        path = made.objects.root + "/" + commit.parts[0].path.rsplit("/", 1)[0] + "/commit.json"
        changed = commit.model_copy(update={"mean": tuple(mean.tolist())})
        Path(path).write_text(commits.seal(changed).model_dump_json())
    found = drift_of(made.objects, made.model.spec.slug)
    assert [shard.shard for shard in found if shard.drifted] == ["00007"]


def _pictures(markdown: str) -> list[Image.Image]:
    encoded = re.findall(r"base64,([A-Za-z0-9+/=]+)\)", markdown)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in encoded]


def test_the_asset(planted: Objects, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata has counts, names and pictures, and stays under Dagster's 200 KB."""
    assert planted.folder
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(planted.folder.parent))
    source = FolderConfig(uri="/nowhere")
    collection = Collection(name=COLLECTION, spec=tiny_spec, source=source)
    resources = {"clip_assets_installation": Installation()}
    result = dg.materialize([report_asset(collection)], resources=resources)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["exact_duplicates"].value == 1
    assert f"`00003.png`, `{COPY}` | same bytes" in str(metadata["duplicates"].value)
    assert f"`00005.png`, `{RESIZED}`" in str(metadata["duplicates"].value)
    for name in ("pictures", "drift"):
        text = str(metadata[name].value)
        assert len(text) < 200_000
        (picture,) = _pictures(text)
        assert len(set(picture.convert("RGB").resize((32, 32)).tobytes())) > 10, "not blank"


def test_the_command(planted: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """`clip-assets duplicates` lists both kinds and how many were compared."""
    assert planted.folder
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(planted.folder.parent))
    arguments = ["duplicates", COLLECTION, "--from-cosine", "0.9"]
    out.width = 200
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert re.search(rf"00003\.png, {COPY}\W+same bytes", result.output)
    assert re.search(rf"00005\.png, {RESIZED}\W+[01]\.\d{{4}}", result.output)
    assert "21 of 22 images compared" in result.output
