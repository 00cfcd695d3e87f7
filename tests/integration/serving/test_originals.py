"""Images as they are in the source, where the operator allows it."""

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from clip_assets import catalog
from clip_assets.index.tables import table_name
from clip_assets.model import ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.source import SourceConfig
from clip_assets.source.config import HuggingFaceConfig, WebDatasetConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests import web
from tests.integration.serving.support import (
    Picture,
    drawn,
    publish,
    running,
    settings,
    wait_until_ready,
)


def test_only_what_the_operator_allows_is_given(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder, tmp_path: Path
) -> None:
    """Files below a named folder that are still the indexed ones; not those beside it, behind a
    link, changed or gone. Hits have the address of those that may be given."""
    allowed, beside = tmp_path / "photos", tmp_path / "photos-private"
    allowed.mkdir()
    beside.mkdir()
    pictures = [drawn(number) for number in range(5)]
    files = [allowed / "a b%20é.png", beside / "1.png", allowed / "link.png", allowed / "3.png"]
    files.append(allowed / "gone.png")
    for picture, file in zip(pictures[:2], files, strict=False):
        file.write_bytes(picture.png)
    (beside / "2.png").write_bytes(pictures[2].png)
    files[2].symlink_to(beside / "2.png")
    files[3].write_bytes(pictures[0].png)
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
        index_id = connection.execute("SELECT max(index_id) FROM clip_assets.index").fetchone()
        assert index_id
        move = sql.SQL("UPDATE clip_assets.{} SET uri = %s WHERE image_id = %s")
        for picture, file in zip(pictures, files, strict=True):
            table = sql.Identifier(table_name(index_id[0]))
            connection.execute(move.format(table), [str(file), picture.image_id])
    with running(settings(dsn, originals=(str(allowed),))) as url:
        wait_until_ready(url)
        query = {"text": "gold", "include": ["original"]}
        hits = web.post(f"{url}/v1/search", json=query).json()["hits"]
        given = {hit["image_id"]: hit["original"] for hit in hits}
        assert given[pictures[1].image_id] is None
        first = web.get(url + given[pictures[0].image_id])
        assert first.content == pictures[0].png
        assert first.headers["content-type"] == "image/png"
        assert first.headers["x-content-type-options"] == "nosniff"
        for picture in pictures[1:]:
            quoted = web.quoted(picture.image_id)
            refused = web.get(f"{url}/v1/images/{quoted}/original")
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
            assert str(tmp_path) not in refused.text


def _tar(path: Path, pictures: Sequence[Picture]) -> SourceConfig:
    with tarfile.open(path / "a.tar", "w") as tar:
        for place, picture in enumerate(pictures):
            member = tarfile.TarInfo(f"{place}.png")
            member.size = len(picture.png)
            tar.addfile(member, io.BytesIO(picture.png))
    return WebDatasetConfig(type="webdataset", uri=str(path))


def _rows(path: Path, pictures: Sequence[Picture]) -> SourceConfig:
    images = [{"bytes": picture.png, "path": None} for picture in pictures]
    pq.write_table(pa.table({"image": images}), path / "train.parquet")
    return HuggingFaceConfig(type="huggingface", dataset=str(path))


def _lists(path: Path, pictures: Sequence[Picture]) -> SourceConfig:
    rows = pa.array([[picture.png for picture in pictures]], pa.list_(pa.binary()))
    pq.write_table(pa.table({"image": rows}), path / "train.parquet")
    return HuggingFaceConfig(type="huggingface", dataset=str(path))


@pytest.mark.parametrize("write", [_tar, _rows, _lists])
def test_an_image_inside_a_file_is_given_by_its_place_in_the_catalog(  # noqa: PLR0917
    write: Callable[[Path, Sequence[Picture]], SourceConfig],
    new_database: Callable[[], str],
    tiny_spec: ModelSpec,
    tiny: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member of a tar, a row of a dataset, one of a row's images; nothing else of the file, and
    nothing once the file holds others at that place."""
    monkeypatch.setenv("CLIP_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLIP_ASSETS_DATA", str(tmp_path / "data"))
    source = tmp_path / "source"
    source.mkdir()
    drawings = [drawn(number) for number in range(3)]
    config = write(source, drawings)
    listed = open_source(config)
    objects = Objects(str(tmp_path / "data/sample"))
    head = catalog.refresh(objects, "sample", config, listed.list(), 10)
    refs = catalog.live_refs(catalog.read_shard(objects, head.shards[0].at))
    pictures = [replace(drawings[n], image_id=ref.image_id) for n, ref in enumerate(refs)]
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        vectors = tiny.encode_images([picture.image for picture in pictures])
        publish(connection, tiny_spec, tiny.identity, pictures, vectors)
        at = head.shards[0].at
        table = sql.Identifier(table_name(1))
        connection.execute(
            sql.SQL("UPDATE clip_assets.{} SET uri = %s, shard = %s").format(table),
            [refs[0].uri, at.shard],
        )
        connection.execute(
            "UPDATE clip_assets.ledger SET shard = %s, version = %s, digest = %s",
            [at.shard, at.version, at.digest],
        )
    with running(settings(dsn, originals=(str(source.resolve()),))) as url:
        wait_until_ready(url)
        for picture in pictures:
            given = web.get(f"{url}/v1/images/{web.quoted(picture.image_id)}").json()["original"]
            answer = web.get(url + given)
            assert (answer.status_code, answer.content) == (200, picture.png)
            assert answer.headers["content-type"] == "image/png"
        write(source, drawings[::-1])
        assert web.get(url + given).status_code == 404
    with running(settings(dsn, originals=(str(tmp_path / "elsewhere"),))) as url:
        wait_until_ready(url)
        refused = web.get(f"{url}/v1/images/{web.quoted(pictures[0].image_id)}/original")
        assert refused.status_code == 404


def test_a_dataset_of_the_hub_is_named_with_or_without_its_revision() -> None:
    """And not by the beginning of its name."""
    uri = "hf://datasets/org/photos@main/data/train.parquet"
    for named, given in (
        ("hf://datasets/org/photos", True),
        ("hf://datasets/org/photos@main/data/", True),
        ("hf://datasets/org/photos@other", False),
        ("hf://datasets/org/photo", False),
    ):
        assert settings("", originals=(named,)).gives(uri) is given


def test_an_original_is_of_the_collection_and_release_that_found_it(
    new_database: Callable[[], str], tiny_spec: ModelSpec, tiny: Encoder, tmp_path: Path
) -> None:
    """Its address opens it also if the live release, or the collection that the service follows,
    does not have it; so does its record."""
    pictures = [drawn(number) for number in range(3)]
    vectors = tiny.encode_images([picture.image for picture in pictures])
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        publish(connection, tiny_spec, tiny.identity, pictures[:2], vectors[:2])
        connection.execute("UPDATE clip_assets.index SET identity_key = 'before'")
        publish(connection, tiny_spec, tiny.identity, pictures[:1], vectors[:1])
        publish(connection, tiny_spec, tiny.identity, pictures[2:], vectors[2:], collection="a & b")
        for number, picture in enumerate(pictures):
            file = tmp_path / f"{number}.png"
            file.write_bytes(picture.png)
            for index in (1, 2, 3):
                move = sql.SQL("UPDATE clip_assets.{} SET uri = %s WHERE image_id = %s")
                table = sql.Identifier(table_name(index))
                connection.execute(move.format(table), [str(file), picture.image_id])
    with running(settings(dsn, originals=(str(tmp_path),))) as url:
        wait_until_ready(url)
        for where, there in (
            ({"release": 1}, pictures[:2]),
            ({"collection": "a & b"}, pictures[2:]),
        ):
            query = {"text": "gold", "include": ["original"], **where}
            hits = web.post(f"{url}/v1/search", json=query).json()["hits"]
            found = {hit["image_id"]: web.get(url + hit["original"]).content for hit in hits}
            assert found == {picture.image_id: picture.png for picture in there}
        address = f"{url}/v1/images/{web.quoted(pictures[1].image_id)}"
        assert web.get(address).status_code == 404
        record = web.get(f"{address}?release=1").json()
        assert record["caption"] == pictures[1].caption
        assert web.get(url + record["original"]).content == pictures[1].png
