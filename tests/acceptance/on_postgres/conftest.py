"""One `dg dev` with its storage in Postgres, for slow tests: the daemon's ticks overlap."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clip_assets.model import ModelSpec
from clip_assets.postgres.connect import connect
from clip_assets.search import search
from clip_assets.search.search import Release
from clip_assets.store import paths
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import dg_dev, environment, write_project
from tests.conftest import TINY

SHARD_SIZE = 2
SHARDS = 5
SCATTERED = ["00000", "00002", "00004"]
SEARCH_PAGE = "http://127.0.0.1:8000"
BLOCKED = SCATTERED[1]


@dataclass(frozen=True)
class Workshop:
    """A running Dagster, with the folders and the databases that its collections live in."""

    dagster: Dagster
    folder: Path
    env: dict[str, str]

    @staticmethod
    def key(collection: str, step: str, model: int = 0) -> tuple[str, ...]:
        middle = () if step == "catalog" else (f"tiny_untrained_{model}_fp32",)
        return (collection, *middle, step)

    @property
    def blocked(self) -> Path:
        """Where the embeddings of one shard belong; a file there keeps them from being written."""
        slug = ModelSpec(name=TINY, untrained_seed=0).slug
        return self.folder / "home/data/shapes" / paths.embeddings(slug, BLOCKED)

    @property
    def database(self) -> str:
        return self.env["DATABASE_URL"]

    def live(self, collection: str) -> Release:
        with connect(self.database) as connection:
            return search.live(connection, collection)


@pytest.fixture(scope="module")
def workshop(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
) -> Iterator[Workshop]:
    """`shapes` has two models, `followed` is automated.

    Nothing of `quiet` is ever materialized: its history is what a test writes.
    """
    folder = tmp_path_factory.mktemp("on_postgres")
    write_pictures(folder / "shapes", SHARDS * SHARD_SIZE)
    write_pictures(folder / "followed", SHARD_SIZE)
    write_pictures(folder / "quiet", 1)
    project = write_project(folder / "project", *_collections(folder), warm=True)
    storage = new_database().replace("postgresql://", "postgresql+psycopg2://")
    env = environment(
        folder / "home", new_database(), "dagster.postgres.yaml",
        DAGSTER_PG_URL=storage, CLIP_ASSETS_SEARCH_URL=SEARCH_PAGE,
    )  # fmt: skip
    with dg_dev(project, env, folder / "dg_dev.log") as dagster:
        yield Workshop(dagster, folder, env)


@pytest.fixture(scope="module")
def by_hand(workshop: Workshop) -> Release:
    """The first release of `followed`, made by hand, and the catalog of `shapes`."""
    dagster, key = workshop.dagster, workshop.key
    assert dagster.materialize(key("followed", "catalog"), key("shapes", "catalog")).status == (
        "SUCCESS"
    )
    embeddings = dagster.materialize(key("followed", "embeddings"), partition="00000")
    assert embeddings.status == "SUCCESS", embeddings.failures
    released = dagster.materialize(key("followed", "search_index"), key("followed", "release"))
    assert released.status == "SUCCESS", released.failures
    return workshop.live("followed")


@pytest.fixture(scope="module")
def added(
    workshop: Workshop, by_hand: Release, write_pictures: Callable[..., Path]
) -> tuple[Release, float]:
    """The release before, and when pictures of two more shards were put into the folder."""
    write_pictures(workshop.folder / "followed", 2 * SHARD_SIZE, first=SHARD_SIZE)
    return by_hand, time.time()


@pytest.fixture(scope="module")
def scattered(workshop: Workshop, added: tuple[Release, float]) -> str:
    """A backfill of shards that are no neighbours, of which the middle one cannot be written."""
    workshop.blocked.parent.mkdir(parents=True)
    workshop.blocked.touch()
    return workshop.dagster.backfill(workshop.key("shapes", "embeddings"), SCATTERED)


def _collections(folder: Path) -> Iterator[dict[str, object]]:
    for name, model, more in (
        ("shapes", 0, {"automate": False}),
        ("shapes", 1, {"automate": False}),
        ("followed", 0, {"look_every_seconds": 5}),
        ("quiet", 0, {"automate": False}),
    ):
        source = {"type": "folder", "uri": str(folder / name)}
        yield {
            "collection": name,
            "shard_size": SHARD_SIZE,
            "model": {"name": TINY, "untrained_seed": model},
            **({} if model else {"source": source}),
            **more,
        }
