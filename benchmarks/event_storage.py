"""What Dagster's sqlite storage grows by: per shard and pass, and on a day without changes.

    .venv/bin/python -m benchmarks.event_storage

Runs the real assets, checks and schedule over committed shards of made-up vectors with real
thumbnails, under the `dagster.yaml` of the repository. The limits are the aims of this project:
10 KB a shard and pass; 1 MB a day for a collection of 10,000 shards.
"""

import argparse
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from benchmarks.orchestration import committed
from clip_assets.automation.batches import range_tags
from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_private import create_run
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.source.config import FolderConfig
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_project import environment
from tests.integration.support import Model

PASS_LIMIT, DAY_LIMIT = 10_000, 1_000_000
HIDDEN = "hidden"


class Commits(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An EmbedClient whose shards are committed by moving them to where readers look."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        del context
        assert objects.folder
        (objects.folder / HIDDEN).rename(objects.folder / paths.EMBEDDINGS)
        for shard in job.shards:
            yield ShardOutcome(shard, "committed", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=50)
    shards = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ |= environment(home, "postgresql://nobody@127.0.0.1:1/none")
        collection = ImageCollection(
            name="photos",
            source=FolderConfig(uri="/nowhere"),
            spec=Model().spec,
            shards_per_run=shards,
        )
        data = home / "data/photos"
        keys = committed(Objects(str(data)), "photos", shards)
        (data / paths.EMBEDDINGS).rename(data / HIDDEN)
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            instance.add_dynamic_partitions(collection.partitions_name, keys)
            storage = home / "dagster"
            for told in ("embedded", "unchanged"):
                before = size(storage)
                embed(instance, collection, keys)
                each = (size(storage) - before) / shards
                print(
                    f"{told:<32}{each / 1000:8.1f} KB a shard and pass, "
                    f"{each / PASS_LIMIT:.2f}x the limit",
                    flush=True,
                )
            before = size(storage)
            embed(instance, collection, keys[:1])
            verify(instance, collection)
            day = size(storage) - before
            print(
                f"{'a day of quiet embeddings':<32}{day / 1000:8.1f} KB, whatever the number of "
                f"shards, {day / DAY_LIMIT:.2f}x the limit"
            )


def embed(
    instance: dg.DagsterInstance,
    collection: ImageCollection,
    keys: list[str],
) -> None:
    """One run of these shards."""
    run_id = str(uuid.uuid4())
    defs, tags = defs_of(collection), range_tags([keys[0], keys[-1]])
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


def size(folder: Path) -> int:
    """Bytes of all files below the folder, without what the runs printed."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".out", ".err")
    )


if __name__ == "__main__":
    main()
