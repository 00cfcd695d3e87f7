"""The whole pipeline with images and parquet in a bucket: an S3-compatible server on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import obstore
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from clip_assets import catalog
from clip_assets.index import build, load, tables
from clip_assets.index.spec import IndexSpec
from clip_assets.judge import judge
from clip_assets.judge.judgement import Wanted
from clip_assets.lake.lake import Lake
from clip_assets.model import ModelSpec
from clip_assets.node import embed, job
from clip_assets.node.job import EmbedJob
from clip_assets.release import release
from clip_assets.search import search
from clip_assets.settings import Settings
from clip_assets.source import source_config
from clip_assets.source.open import open_source
from clip_assets.status import collections
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

BUCKET = "pictures-and-vectors"
IMAGES = 24


@pytest.fixture
def bucket(
    tmp_path: Path, write_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """URI of a bucket with pictures below `photos/`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    for file in write_pictures(tmp_path / "photos", IMAGES).iterdir():
        client.upload_file(str(file), BUCKET, f"photos/{file.name}")
    monkeypatch.setenv("CLIP_ASSETS_DATA", f"s3://{BUCKET}/clip")
    yield f"s3://{BUCKET}"
    server.stop()


def test_the_whole_pipeline_runs_on_a_bucket(
    bucket: str, database: str, tiny_spec: ModelSpec
) -> None:
    """Catalog, embeddings, index, release and search work with nothing on the local disk."""
    objects = Objects(Settings().collection_uri("photos"))
    source = source_config("folder", f"{bucket}/photos")
    head = catalog.refresh(objects, "photos", source, open_source(source).list(), shard_size=10)
    assert [shard.rows for shard in head.shards] == [10, 10, 4]
    assert collections(Settings()) == ["photos"]
    shards = tuple(shard.shard for shard in head.shards)
    work = EmbedJob(
        job_id="j", run_id="r", collection="photos", model=tiny_spec, shards=shards, part_rows=4
    )
    assert job.write(objects, work) == f"{bucket}/clip/photos/jobs/j/job.json"
    assert embed.run(*job.read(f"{bucket}/clip/photos/jobs/j/job.json")) == 0
    assert embed.run(objects, work) == 0
    with psycopg.connect(database, autocommit=True) as connection:
        current = [shard.at for shard in head.shards]
        done = load.reconcile(connection, objects, IndexSpec("photos", tiny_spec), current)
        build.build(connection, done.index, IMAGES)
        judge.judge(connection, objects, done.index, Wanted(recall=0.95))
        index = tables.find(connection, "photos", tiny_spec.slug)
        live, _ = release.publish(connection, index, "r")
        vector = search.vector_of(connection, live, "00007.png")
        assert vector is not None
        hit = search.search(connection, live, vector, 1).hits[0]
    assert (hit.image_id, hit.caption) == ("00007.png", "picture number 7")
    assert hit.uri == f"{bucket}/photos/00007.png"
    with Lake(objects).connect() as lake:
        found = lake.execute(
            "SELECT image_id FROM embeddings "
            "ORDER BY array_cosine_similarity(embedding, ?::FLOAT[32]) DESC LIMIT 1",
            [vector.tolist()],
        ).fetchone()
    assert found == ("00007.png",)


def test_create_never_overwrites_in_a_bucket(bucket: str) -> None:
    """`create` returns False to the second writer, because the store itself refuses the write."""
    objects = Objects(f"{bucket}/clip/photos")
    assert objects.create("part", b"first")
    assert not objects.create("part", b"second")
    assert objects.get("part") == b"first"
    assert commits.newest(objects, "none") == {}
    assert np.frombuffer(objects.get_range("part", 1, 3), np.uint8).tobytes() == b"irs"


def test_replace_overwrites_only_what_was_read_from_a_bucket(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may write between the look at the object and the write, too."""
    objects = Objects(f"{bucket}/clip/photos")
    assert objects.replace("head", None, b"first")
    assert objects.replace("head", b"first", b"second")
    assert not objects.replace("head", b"first", b"third")
    get = obstore.get

    def overtaken(store: Any, path: str) -> Any:
        found = get(store, path)
        obstore.put(store, path, b"of another process")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(obstore, "get", overtaken)
        assert not objects.replace("head", b"second", b"fourth")
    assert objects.get("head") == b"of another process"
