"""Every secret is a word that is nowhere else, and the whole flow runs, its failures included."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import dagster as dg
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from psycopg.conninfo import make_conninfo

from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute.local import LocalEmbedClient
from clip_assets.model import ModelSpec
from clip_assets.source import SourceConfig
from clip_assets.source.config import FolderConfig, HuggingFaceConfig
from clip_assets.store.objects import Objects
from tests.faults.orchestrator import FailedError, Orchestrator
from tests.integration.assets.test_secrets import watched
from tests.ports import free_port

BUCKET, NAME, IMAGES = "pictures", "photos", 12
CANARIES = {
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-bucket",
    "AWS_SESSION_TOKEN": "canary-of-the-session",
    "HF_TOKEN": "hf_canaryofthehub",
}
PASSWORD = "canary-of-the-database"


@pytest.fixture
def bucket(
    tmp_path: Path,
    write_pictures: Callable[..., Path],
    new_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """URI of a bucket with pictures; all settings are secret."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_REGION": "us-east-1",
        "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "CLIP_ASSETS_DATA": f"s3://{BUCKET}/clip",
        "DATABASE_URL": make_conninfo(new_database(), password=PASSWORD),
        **CANARIES,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    for file in write_pictures(tmp_path / "pictures", IMAGES).iterdir():
        client.upload_file(str(file), BUCKET, f"photos/{file.name}")
    yield f"s3://{BUCKET}"
    server.stop()


@pytest.mark.promise("No secret is shown")
def test_no_secret_is_anywhere(
    bucket: str, tiny_spec: ModelSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in the events, logs and files of Dagster, nor in any file of the bucket, nor in what
    is printed, nor in the arguments of a process."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance, watched() as arguments:

        def orchestrator(source: SourceConfig) -> Orchestrator:
            made = ImageCollection(name=NAME, source=source, spec=tiny_spec, wanted_recall=0.5)
            return Orchestrator(instance, made, LocalEmbedClient())

        for broken in (
            FolderConfig(uri="s3://no-such-bucket/photos"),
            HuggingFaceConfig(type="huggingface", dataset="nobody/nothing"),
        ):
            with pytest.raises(FailedError) as failed:
                orchestrator(broken).steps[0]()
            assert _found(str(failed.value).encode()) == []
        for step in orchestrator(FolderConfig(uri=f"{bucket}/photos")).steps:
            step()
    stored = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    objects = Objects(bucket)
    paths = [entry.path for entry in objects.list()]
    written = [objects.get(path) for path in paths]
    unpacked = []
    for path in paths:
        if path.endswith(".parquet"):
            with objects.on_disk(path) as file:
                table = pq.read_table(file)
            unpacked.append(f"{table.schema.metadata} {table.to_pylist()}".encode())
    printed = "".join(capfd.readouterr())
    assert stored
    assert len(unpacked) >= 4
    assert any("clip_assets.node.embed" in one for one in arguments)
    told = [printed.encode(), *(one.encode() for one in arguments)]
    assert _found(b"\n".join([*stored, *written, *unpacked, *told])) == []


def _found(text: bytes) -> list[str]:
    return [secret for secret in (*CANARIES.values(), PASSWORD) if secret.encode() in text]
