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

from clip_assets.automation.batches import range_tags
from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_private import create_run
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.source.config import FolderConfig
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_project import environment
from tests.integration.support import Model

PASS_LIMIT, DAY_LIMIT = 10_000, 1_000_000
IMAGES = 24  # per shard: enough for a full contact sheet


class Commits(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An EmbedClient whose shards are committed already, as its node had done it just now."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        del context, objects
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
        keys = committed(Objects(str(home / "data/photos")), "photos", shards)
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            instance.add_dynamic_partitions(collection.partitions_name, keys)
            storage = home / "dagster"
            for told in ("embedded or found unchanged", "once more"):
                before = size(storage)
                embed(instance, collection, keys)
                each = (size(storage) - before) / shards
                print(
                    f"{told:<32}{each / 1000:8.1f} KB a shard and pass, "
                    f"{each / PASS_LIMIT:.2f}x the limit",
                    flush=True,
                )


def embed(instance: dg.DagsterInstance, collection: ImageCollection, keys: list[str]) -> None:
    run_id = str(uuid.uuid4())
    defs, tags = defs_of(collection), range_tags([keys[0], keys[-1]])
    create_run(instance, defs, collection.embeddings_key, run_id, tags=tags).execute()
    ended = instance.get_run_by_id(run_id)
    assert ended and ended.is_success, ended


def defs_of(collection: ImageCollection) -> dg.Definitions:
    built = collection.build_defs(dg.ComponentTree.for_test().load_context)
    resources = {"installation": Installation(), "compute": Commits()}
    return dg.Definitions.merge(
        built, dg.Definitions(resources=resources, executor=dg.in_process_executor)
    )


def size(folder: Path) -> int:
    """Bytes of all files below the folder, without what the runs printed."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".out", ".err")
    )


def committed(objects: Objects, collection: str, shards: int) -> list[str]:
    """Write a catalog of synthetic shards, each with its commit; returns their keys."""
    from benchmarks.orchestration import committed

    return committed(objects, collection, shards)


if __name__ == "__main__":
    main()
