"""Runs at the same time, each in its own process, under the `dagster.yaml` that we ship."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from clip_assets.automation.batches import range_tags
from clip_assets.catalog import Catalog, Shard
from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_private import create_run
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.source.config import FolderConfig
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.integration.support import Made, Model, image_table

PROJECT = Path(__file__).parents[3]
RUNS = 10
KEYS = [f"{number:05d}" for number in range(RUNS)]
MEET_SECONDS = 300.0
HIDDEN = "hidden"


@dataclass(frozen=True)
class Place:
    """The folders that the processes share."""

    home: Path

    @property
    def objects(self) -> Objects:
        return Objects(str(self.home / "data/photos"))

    @property
    def collection(self) -> ImageCollection:
        return ImageCollection(
            name="photos", source=FolderConfig(uri="/nowhere"), spec=Model().spec
        )

    @property
    def asked(self) -> list[str]:
        """The shards that any run asked a job for."""
        return sorted(file.name.split("-")[0] for file in (self.home / "asked").iterdir())

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))


class Job(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An EmbedClient that notes what it is asked for, and then commits what lies ready.

    It waits until `meet` shards are asked for, so that as many runs are at work at once.
    """

    home: str
    meet: int

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        noted = Path(self.home) / "asked"
        for shard in job.shards:
            (noted / f"{shard}-{context.run.run_id}").touch()
        until = time.monotonic() + MEET_SECONDS
        while len([*noted.iterdir()]) < self.meet:
            assert time.monotonic() < until, "the other runs do not start"
            time.sleep(0.05)
        assert objects.folder
        for shard in job.shards:
            ready = objects.folder / paths.embeddings(Model().spec.slug, shard)
            ready.parent.mkdir(parents=True, exist_ok=True)
            (objects.folder / HIDDEN / ready.relative_to(objects.folder)).rename(ready)
            yield ShardOutcome(shard, "committed", "")


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Place]:
    def make(**concurrency: object) -> Place:
        """Ten shards that a job only has to commit, and an instance file changed as said."""
        place = Place(tmp_path)
        made = Made(place.objects)
        commits = [made.add(key, table=_without_thumbnails(key)) for key in KEYS]
        shards = tuple(
            Shard(shard=c.shard, version=1, digest=c.catalog_digest, rows=4, live=4)
            for c in commits
        )
        head = Catalog(
            collection="photos", source=FolderConfig(uri="/"), listing="x", shards=shards
        )
        place.objects.put(paths.CATALOG, head.model_dump_json().encode())
        data = tmp_path / "data/photos"
        (data / HIDDEN).mkdir()
        (data / paths.EMBEDDINGS).rename(data / HIDDEN / paths.EMBEDDINGS)
        for folder in ("asked", "dagster"):
            (tmp_path / folder).mkdir()
        shipped = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
        shipped["concurrency"] |= concurrency
        (tmp_path / "dagster/dagster.yaml").write_text(yaml.safe_dump(shipped))
        with place.instance() as instance:
            instance.add_dynamic_partitions(place.collection.partitions_name, KEYS)
        return place

    return make


def test_ten_runs_at_once_on_sqlite(
    place: Callable[..., Place], processes: ForkServerContext
) -> None:
    """With ten runs and ten slots of the pool, all are at work at once and all are recorded."""
    here = place(runs={"max_concurrent_runs": RUNS}, pools={"default_limit": RUNS})
    with ProcessPoolExecutor(RUNS, mp_context=processes) as pool:
        ended = [pool.submit(embed, here, [key], "one", meet=RUNS) for key in KEYS]
        assert {one.result() for one in ended} == {"SUCCESS"}
    assert here.asked == KEYS
    with here.instance() as instance:
        assert instance.get_materialized_partitions(here.collection.embeddings_key) == set(KEYS)


def test_two_code_locations_make_each_shard_once(
    place: Callable[..., Place], processes: ForkServerContext
) -> None:
    """Both define the collection and embed all of it: the later run waits for the pool, and then
    finds what the other made."""
    here = place(runs={"max_concurrent_runs": RUNS})
    with ProcessPoolExecutor(2, mp_context=processes) as pool:
        one = pool.submit(embed, here, KEYS, "one", meet=0)
        # In sqlite, Dagster may give the same slot to two runs that ask in the same moment.
        while not here.asked and not one.done():
            time.sleep(0.05)
        other = pool.submit(embed, here, KEYS, "other", meet=0)
        assert (one.result(), other.result()) == ("SUCCESS", "SUCCESS")
    assert here.asked == KEYS
    of_asset = dg.AssetRecordsFilter(here.collection.embeddings_key)
    with here.instance() as instance:
        records = instance.fetch_materializations(of_asset, limit=100).records
        found = [record.asset_materialization for record in records]
    told = [one.metadata["state"].value for one in found if one and "state" in one.metadata]
    assert sorted(map(str, told)) == ["committed"] * RUNS + ["unchanged"] * RUNS


def _without_thumbnails(shard: str) -> pa.Table:
    table = image_table(shard, 4, int(shard))
    column = table.schema.get_field_index("thumbnail")
    return table.set_column(column, table.schema.field(column), pa.array([b""] * 4, pa.binary()))


def embed(place: Place, keys: list[str], location: str, *, meet: int) -> str:
    """Execute one run of these shards, in a process of its own; returns the run's status."""
    os.environ["CLIP_ASSETS_HOME"] = str(place.home)
    os.environ["CLIP_ASSETS_DATA"] = str(place.home / "data")
    collection = place.collection
    built = collection.build_defs(dg.ComponentTree.for_test().load_context)
    defs = dg.Definitions(
        assets=built.assets,
        asset_checks=built.asset_checks,
        resources={
            "clip_assets_installation": Installation(),
            "clip_assets_compute": Job(home=str(place.home), meet=meet),
        },
        executor=dg.in_process_executor,
    )
    run_id = str(uuid.uuid4())
    with place.instance() as instance:
        create_run(
            instance, defs, collection.embeddings_key, run_id, location=location,
            tags=range_tags(keys),
        ).execute()  # fmt: skip
        run = instance.get_run_by_id(run_id)
    return run.status.value if run else "gone"
