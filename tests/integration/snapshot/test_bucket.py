"""Snapshots in a bucket: an S3-compatible server on loopback."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from clip_assets.settings import Settings
from clip_assets.snapshot import make, manifest, replica
from clip_assets.store.objects import Objects
from tests.integration.snapshot.conftest import Live, nearest, quiet
from tests.integration.support import COLLECTION


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="snapshots")
    yield "s3://snapshots/photos"
    server.stop()


def test_a_replica_starts_from_a_snapshot_in_a_bucket(bucket: str, live: Live, home: Path) -> None:
    """The snapshot may be named itself or by the folder of snapshots."""
    settings = Settings(home=home, data=str(live.data))
    with psycopg.connect(live.dsn, autocommit=True) as connection:
        made = make.make(connection, settings, COLLECTION, Objects(bucket), quiet)
    expected = nearest(live.dsn, "00007.png")
    assert nearest(replica.start(bucket, home / "replicas", quiet), "00007.png") == expected
    assert manifest.read(f"{bucket}/{made.snapshot}")[1] == made
