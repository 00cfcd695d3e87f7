"""One `dg dev` over a project of two small collections, for the tests of Dagster's API."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance import forking
from tests.acceptance.dagster_api import Dagster, FinishedRun
from tests.acceptance.dagster_project import dg_dev, environment, write_project
from tests.acceptance.workplace import Workplace
from tests.conftest import TINY

SHARDS = 22
SHARD_SIZE = 3
MODEL = {"name": TINY, "untrained_seed": 0}


def pytest_collection_finish(session: pytest.Session) -> None:
    if any(
        item.get_closest_marker("dagster_ui") or "forked" in item.fixturenames
        for item in session.items
        if isinstance(item, pytest.Function)
    ):
        forking.start_server()


@pytest.fixture(scope="session")
def forked() -> Callable[..., tuple[int, str]]:
    """Runs programs as forks: see `forking.run`."""
    return forking.run


@dataclass(frozen=True)
class Workshop:
    """A running Dagster, with the folders and the database that its collections live in."""

    dagster: Dagster
    folder: Path
    database: str

    CATALOG = ("photos", "catalog")
    EMBEDDINGS = ("photos", "tiny_untrained_0_fp32", "embeddings")
    SEARCH_INDEX = ("photos", "tiny_untrained_0_fp32", "search_index")
    RELEASE = ("photos", "tiny_untrained_0_fp32", "release")
    LARGE_CATALOG = ("large", "catalog")
    LARGE_EMBEDDINGS = ("large", "tiny_untrained_0_fp32", "embeddings")

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def log(self) -> Path:
        return self.folder / "dg_dev.log"

    def commits(self, collection: str = "photos") -> dict[str, list[Path]]:
        """Every commit.json on disk, by shard."""
        found: dict[str, list[Path]] = {}
        root = self.folder / "home/data" / collection / "embeddings"
        for path in sorted(root.glob("*/*/*/commit.json")):
            found.setdefault(path.parts[-3], []).append(path)
        return found


@pytest.fixture(scope="module")
def workshop(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
) -> Iterator[Workshop]:
    """`photos` is small and quick; `large` has pictures that keep a job busy for a minute."""
    folder = tmp_path_factory.mktemp("workshop")
    write_pictures(folder / "images", SHARDS * SHARD_SIZE)
    write_large_pictures(folder / "large")
    project = write_project(
        folder / "project",
        {
            "collection": "photos",
            "owner": "team:search",
            "source": {"type": "folder", "uri": str(folder / "images")},
            "shard_size": SHARD_SIZE,
            "shards_per_run": SHARDS // 2,
            "model": MODEL,
            "automate": False,
        },
        {
            "collection": "large",
            "source": {"type": "folder", "uri": str(folder / "large")},
            "shard_size": 2,
            "model": MODEL,
            "automate": False,
        },
        warm=True,
    )
    database = new_database()
    env = environment(folder / "home", database)
    with dg_dev(project, env, folder / "dg_dev.log") as dagster:
        yield Workshop(dagster, folder, database)


@pytest.fixture(scope="module")
def cataloged(workshop: Workshop) -> FinishedRun:
    """The run that listed both collections and cut their shards."""
    return workshop.dagster.materialize(workshop.CATALOG, workshop.LARGE_CATALOG)


@pytest.fixture(scope="module")
def one_shard(workshop: Workshop, cataloged: FinishedRun) -> FinishedRun:
    """The run that embedded shard 00000 alone."""
    return workshop.dagster.materialize(workshop.EMBEDDINGS, partition="00000")


@pytest.fixture(scope="module")
def backfill(workshop: Workshop, one_shard: FinishedRun) -> str:
    """Id of a backfill of every shard, just launched: the daemon has not started it yet."""
    shards = workshop.dagster.partitions(workshop.EMBEDDINGS)["partitionKeys"]
    return workshop.dagster.backfill(workshop.EMBEDDINGS, shards)


@pytest.fixture(scope="module")
def backfilled(workshop: Workshop, backfill: str) -> list[FinishedRun]:
    """The runs of that backfill, all of them ended."""
    dagster = workshop.dagster

    def all_launched() -> bool:
        found = dagster.ask("Backfill", id=backfill)
        assert not found["error"], found["error"]
        return len(found["runs"]) == 2

    dagster.wait(all_launched, "the daemon to launch the backfill's runs")
    runs = dagster.ask("Backfill", id=backfill)["runs"]
    return [dagster.finish(run["runId"]) for run in runs]


@pytest.fixture(scope="module")
def released(workshop: Workshop, backfilled: list[FinishedRun]) -> FinishedRun:
    """The run that loaded, judged and published what the backfill made."""
    return workshop.dagster.materialize(workshop.SEARCH_INDEX, workshop.RELEASE)


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
) -> Workplace:
    folder = tmp_path_factory.mktemp("killed")
    write_large_pictures(folder / "large")
    write_pictures(folder / "few", 3)
    collections = [
        {
            "collection": name,
            "source": {"type": "folder", "uri": str(folder / name)},
            "shard_size": 2,
            "model": MODEL,
        }
        for name in ("large", "few")
    ]
    write_project(folder / "project", *collections, warm=True)
    return Workplace(folder, environment(folder / "home", new_database()))


def write_large_pictures(folder: Path) -> None:
    """Forty names of one picture: few bytes, many pixels."""
    folder.mkdir()
    file = io.BytesIO()
    Image.new("RGB", (6000, 6000), "teal").save(file, "PNG", compress_level=1)
    (folder / "00.png").write_bytes(file.getvalue())
    for number in range(1, 40):
        os.link(folder / "00.png", folder / f"{number:02d}.png")
