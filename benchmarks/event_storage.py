"""How much Dagster's storage grows: per shard and pass, and on a day without changes.

    .venv/bin/python -m benchmarks.event_storage            # about a minute

Runs the real assets, checks and schedule over committed shards of made-up vectors with real
thumbnails, with the repository's instance files: sqlite, which keeps each event twice, and
Postgres. The targets of this project are 10 KB per shard and pass, and 1 MB a day for a collection
of 10,000 shards. The peer is a Dagster asset without metadata, with as many shards per run.
"""

import argparse
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from benchmarks.orchestration import committed
from clip_assets.automation.batches import batches, range_tags
from clip_assets.collection import Collection
from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_private import create_run
from clip_assets.node.job import EmbedJob
from clip_assets.postgres import embedded
from clip_assets.postgres.connect import connect
from clip_assets.resources import Installation
from clip_assets.source.config import FolderConfig
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_project import environment
from tests.integration.support import Model

PASS_LIMIT, DAY_LIMIT = 10_000, 1_000_000
SHARDS_PER_RUN = Collection.model_fields["shards_per_run"].default
# As long as the default model's name, because Dagster repeats it in each event.
MODEL = Model("ViT-B-32-laion2b-s34b")
SPENT = {
    "seconds": 12.3,
    "stage_seconds": {"fetch": 1.0, "decode": 20.0, "encode": 6.0, "write": 0.5},
    "workers": {"fetch": 8, "decode": 2, "encode": 1, "write": 1},
    "limited_by": "decode",
    "images_encoded": 24,
}
HIDDEN = "hidden"


class Commits(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An EmbedClient whose shards are committed by moving them to where readers look."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        del context
        assert objects.folder
        for shard in job.shards:
            ready = objects.folder / paths.embeddings(MODEL.spec.slug, shard)
            ready.parent.mkdir(parents=True, exist_ok=True)
            (objects.folder / HIDDEN / ready.relative_to(objects.folder)).rename(ready)
            yield ShardOutcome(shard, "committed", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=2 * SHARDS_PER_RUN)
    shards = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the embedded Postgres runs as another user
        measure("sqlite", folder / "sqlite", "dagster.yaml", "", shards)
        uri = embedded.start(folder / "postgres", cleanup_mode="delete").get_uri()
        measure("postgres", folder / "on_postgres", "dagster.postgres.yaml", uri, shards)


def measure(where: str, home: Path, instance_file: str, uri: str, shards: int) -> None:
    """Print how much this storage grows; `uri` is a Postgres', or empty for sqlite."""
    address = uri.replace("postgresql://", "postgresql+psycopg2://")
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    os.environ |= environment(home, nowhere, instance_file, DAGSTER_PG_URL=address)
    collection = ImageCollection(
        name="photos", source=FolderConfig(uri="/nowhere"), spec=MODEL.spec
    )
    keys = prepared(home / "data/photos", shards)
    size = _of_database(uri) if uri else _of_folder(home / "dagster")

    def report(label: str, per: int, limit: int, work: Callable[[], None]) -> None:
        before = size()
        work()
        grown = (size() - before) / per
        print(f"{where:<10}{label:<34}{grown / 1000:8.1f} KB {grown / limit:8.2f}x the limit")

    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        instance.add_dynamic_partitions(collection.partitions_name, keys)
        plain(instance, collection, keys[:1])  # makes what is made once
        report("a shard, bare asset", shards, PASS_LIMIT, lambda: plain(instance, collection, keys))
        for label in ("a shard, embedded", "a shard, unchanged"):
            report(label, shards, PASS_LIMIT, lambda: embed(instance, collection, keys))

        def quiet_day() -> None:
            embed(instance, collection, keys[:1])
            verify(instance, collection)

        report("a day without changes", 1, DAY_LIMIT, quiet_day)


def prepared(data: Path, shards: int) -> list[str]:
    """Write committed shards where no reader finds them yet; returns their keys."""
    objects = Objects(str(data))
    keys = committed(objects, "photos", shards, MODEL)
    for path in commits.newest(objects, MODEL.spec.slug).values():
        commit = commits.seal(commits.read_path(objects, path).model_copy(update=SPENT))
        objects.put(path, commit.model_dump_json().encode())
    (data / HIDDEN).mkdir()
    (data / paths.EMBEDDINGS).rename(data / HIDDEN / paths.EMBEDDINGS)
    return keys


def plain(instance: dg.DagsterInstance, collection: ImageCollection, keys: list[str]) -> None:
    """Runs of an asset with a key as long as ours, and no more than its partitions."""

    @dg.asset(
        key=collection.embeddings_key.with_prefix("bare"),
        partitions_def=collection.partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(SHARDS_PER_RUN),
    )
    def bare() -> None: ...

    for batch in batches(keys, SHARDS_PER_RUN):
        assert dg.materialize([bare], instance=instance, tags=range_tags(batch)).success


def embed(instance: dg.DagsterInstance, collection: ImageCollection, keys: list[str]) -> None:
    """Runs of these shards, as a backfill makes them."""
    for batch in batches(keys, SHARDS_PER_RUN):
        run_id = str(uuid.uuid4())
        defs, tags = defs_of(collection), range_tags(batch)
        create_run(
            instance, defs, collection.embeddings_key, run_id, location="benchmark", tags=tags
        ).execute()
        ended = instance.get_run_by_id(run_id)
        assert ended and ended.is_success, ended


def verify(instance: dg.DagsterInstance, collection: ImageCollection) -> None:
    """One run of the check that verifies old shards."""
    check = dg.AssetCheckKey(collection.embeddings_key, "oldest_shard")
    job = dg.define_asset_job("verify", dg.AssetSelection.checks(check))
    defs = dg.Definitions.merge(defs_of(collection), dg.Definitions(jobs=[job]))
    assert defs.resolve_job_def("verify").execute_in_process(instance=instance).success


def defs_of(collection: ImageCollection) -> dg.Definitions:
    built = collection.build_defs(dg.ComponentTree.for_test().load_context)
    return dg.Definitions(
        assets=built.assets,
        asset_checks=built.asset_checks,
        resources={"clip_assets_installation": Installation(), "clip_assets_compute": Commits()},
        executor=dg.in_process_executor,
    )


def _of_folder(folder: Path) -> Callable[[], int]:
    """Bytes of all files below the folder, without what the runs printed."""
    return lambda: sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".out", ".err")
    )


def _of_database(uri: str) -> Callable[[], int]:
    """Bytes of the database, without the space that is free again."""

    def size() -> int:
        with connect(uri) as connection:
            connection.execute("VACUUM FULL")
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row
        return int(row[0])

    return size


if __name__ == "__main__":
    main()
