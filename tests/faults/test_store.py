"""An object store that fails, delays, answers twice, breaks off, loses answers and lists late."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from clip_assets import catalog
from clip_assets.errors import ClipAssetsError
from clip_assets.index.vector_type import VectorType
from clip_assets.judge.judgement import Wanted
from clip_assets.lake.lake import Lake
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.release.update import ReleaseSpec, bring_up_to_date
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from clip_assets.verify.verify import verify
from tests.faults.faulty_store import FAULTS, FaultyStore, faulty_store

BUCKET, IMAGES, SHARE = "pictures", 40, 0.15


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, moments: Random) -> Iterator[FaultyStore]:
    """A bucket behind the proxy, which causes no faults yet."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with faulty_store(f"http://{host}:{port}", moments) as store:
        for name, value in {
            "AWS_ENDPOINT_URL": store.address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield store
    server.stop()


@pytest.fixture
def pictures(tmp_path: Path, write_pictures: Callable[..., Path]) -> Path:
    return write_pictures(tmp_path / "pictures", IMAGES)


@pytest.mark.promise("No image is lost")
def test_a_faulty_store_loses_and_repeats_nothing(
    store: FaultyStore,
    new_database: Callable[[], str],
    tiny_spec: ModelSpec,
    pictures: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """With faults in 15 % of all requests, each step ends or fails with a remedy; run again until
    it ends, it gives every image once, in the bytes that were committed. What a late list did not
    show is in the next release."""
    source = FolderConfig(uri=str(pictures))
    objects, address = Objects(f"s3://{BUCKET}/photos"), new_database()
    release = ReleaseSpec(
        "photos", tiny_spec, VectorType.HALFVEC, wanted=Wanted(recall=0.5), keep_indexes=2
    )

    def list_images() -> None:
        catalog.refresh(objects, "photos", source, open_source(source).list(), 10)

    def embed_images() -> None:
        shards = tuple(f"{number:05d}" for number in range(4))
        job = EmbedJob(
            job_id="j", run_id="r", collection="photos", model=tiny_spec, shards=shards, part_rows=4
        )
        embed.run(objects, job)

    def publish() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            bring_up_to_date(connection, objects, release, "run", lambda _: None)

    store.share = SHARE
    for step in (list_images, embed_images, publish):
        _until_it_ends(step)
    store.share = 0.0
    publish()  # the list may have lacked the newest shard
    assert set(store.done) == set(FAULTS)
    with psycopg.connect(address, autocommit=True) as connection:
        head = catalog.require(objects, "photos")
        found = verify(objects, head, connection, lambda *_: None)
    assert (found.faults, found.behind) == ((), ())
    with Lake(objects).connect() as lake:
        (rows,) = lake.execute("SELECT count(DISTINCT image_id) FROM embeddings").fetchone() or ()
    assert rows == found.figures["indexed rows"] == IMAGES
    faults = ", ".join(f"{count} of {name}" for name, count in sorted(store.done.items()))
    record_property("figure", f"faults in {SHARE:.0%} of all requests: {faults}")


def _until_it_ends(step: Callable[[], None]) -> None:
    for _ in range(30):
        try:
            return step()
        except ClipAssetsError as error:  # anything else is an error without a remedy
            last = error
    raise AssertionError(f"{step.__name__} did not end") from last
