"""The three files of sky/ by SkyPilot alone, no Dagster: from pictures to a search over HTTP."""

import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clip_assets import catalog
from clip_assets.model import ModelSpec
from clip_assets.postgres.connect import connect
from clip_assets.search import search
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from tests.skypilot.command_line import PROJECT, sky
from tests.skypilot.for_slurm import task_for_slurm

PICTURES = PROJECT / "sample/collection/sample-000000.tar"
SPEC = ModelSpec(name=f"local-dir:{PROJECT / 'sample/clip-sample'}")
PAGE = "http://127.0.0.1:8000"
PATIENCE_SECONDS = 600
CANARY = uuid4().hex  # in no file of a checkout
# What a machine needs to reach buckets and the hub; neither is asked for anything here.
CREDENTIALS = {
    name: f"{CANARY}-{name}"
    for name in ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
}


@dataclass(frozen=True)
class Road:
    """Where the pictures come from, and where vectors and index go."""

    folder: Path
    database: str

    @property
    def objects(self) -> Objects:
        return Objects(str(self.folder / "data/photos"))

    @property
    def environment(self) -> list[str]:
        """The options of both tasks that read or write the data."""
        values = {
            "DATA": self.folder / "data",
            "COLLECTION": "photos",
            "MODEL": SPEC.name,
            "PRETRAINED": "",
            "PRECISION": SPEC.precision,
        }
        return [word for name, value in values.items() for word in ("--env", f"{name}={value}")]

    def task(self, name: str) -> str:
        return str(task_for_slurm(name, self.folder))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Road:
    """A folder of pictures with their captions, cut into shards by the job itself."""
    folder = tmp_path_factory.mktemp("road")
    with tarfile.open(PICTURES) as tar:
        tar.extractall(folder / "pictures", filter="data")
    address = conninfo_to_dict(new_database())
    return Road(folder, make_conninfo(**{**address, "password": CANARY}))


@pytest.fixture(scope="module")
def embedded(road: Road) -> Road:
    source = ("--env", f"SOURCE={road.folder / 'pictures'}")
    sky(
        *("jobs", "launch", "--yes", road.task("compute_vectors")),
        *(*road.environment, *source),
        secrets=CREDENTIALS,
    )
    return road


@pytest.fixture(scope="module")
def released(embedded: Road) -> Road:
    sky(
        *("jobs", "launch", "--yes", embedded.task("build_vectordb")),
        *embedded.environment,
        secrets={"DATABASE_URL": embedded.database},
    )
    return embedded


@pytest.fixture(scope="module")
def served(released: Road) -> Iterator[str]:
    """The page's address, once the service says that it is ready."""
    try:
        sky(
            *("launch", "--yes", "--detach-run", "--cluster", "serve"),
            released.task("serve_vectordb"),
            secrets={"DATABASE_URL": released.database, "HF_TOKEN": CREDENTIALS["HF_TOKEN"]},
        )
        wait_until(ready, "the service to be ready")
        yield PAGE
    finally:
        sky("down", "--yes", "serve")


def test_compute_vectors_commits_every_shard(embedded: Road) -> None:
    """A managed job makes the catalog, and ends with every image of it in a commit."""
    head = catalog.read(embedded.objects)
    assert head
    assert head.images
    found = [commits.read(embedded.objects, SPEC.slug, shard.at) for shard in head.shards]
    assert [commit and commit.rows for commit in found] == [shard.live for shard in head.shards]


def test_build_vectordb_publishes_a_release(released: Road) -> None:
    """A managed job that knows DATABASE_URL loads what is committed, judges and publishes it."""
    head = catalog.read(released.objects)
    assert head
    with connect(released.database) as connection:
        assert search.live(connection, "photos").rows == head.images


def test_serve_vectordb_answers_over_http(served: str) -> None:
    """The service finds a picture by its words, shows it, and has the page at its root."""
    answer = httpx.post(f"{served}/v1/search", json={"text": "basketball", "k": 5}).json()
    thumbnails = {hit["image_id"]: hit["thumbnail"] for hit in answer["hits"]}
    picture = httpx.get(f"{served}{thumbnails['activities/basketball.webp']}")
    assert picture.headers["content-type"] == "image/jpeg"
    assert 'role="search"' in httpx.get(served).text


def test_no_secret_stays_on_a_machine(served: str) -> None:
    """While the service runs, SkyPilot has them in two files of its home and in the command line
    that starts the task; afterwards nothing of the three machines has one."""
    assert served
    assert {file.name for file in files_with_canary()} - {".bash_history"} == {"sky_job_1"}
    assert processes_with_canary() == []
    sky("down", "--yes", "serve")
    wait_until(lambda: not files_with_canary(), "no file to have a secret")


def files_with_canary() -> list[Path]:
    """What machines have written; the API server's own files are elsewhere."""
    folders = ["/mnt/home/.sky_clusters", "/mnt/log", "/tmp"]
    search = ["grep", "--recursive", "--files-with-matches", "--text", "--no-messages", CANARY]
    found = subprocess.run([*search, *folders], capture_output=True, text=True, check=False)
    return [Path(file) for file in found.stdout.splitlines()]


def processes_with_canary() -> list[str]:
    """Command lines that show it, but those by which SkyPilot starts the task."""
    lines = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if CANARY in line and "sky.skylet.executor.slurm" not in line]


def ready() -> bool:
    try:
        return httpx.get(f"{PAGE}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Raises TimeoutError if it does not happen in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.5)
