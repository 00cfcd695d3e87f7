"""Checks of `catalog`."""

from collections.abc import Iterator

import dagster as dg
import pyarrow.compute as pc

from clip_assets import catalog
from clip_assets.collection import Collection
from clip_assets.resources import Installation


def catalog_checks(collection: Collection) -> Iterator[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=collection.catalog_key,
        blocking=True,
        description="Image ids are unique, and each shard has as many rows as listed.",
    )
    def ids_unique(installation: Installation) -> dg.AssetCheckResult:
        objects = installation.objects(collection.name)
        head = catalog.read(objects)
        shards = head.shards if head else ()
        seen: set[str] = set()
        rows = repeated = short = 0
        for shard in shards:
            ids = pc.unique(catalog.read_shard(objects, shard.at).column("image_id")).to_pylist()
            short += len(ids) != shard.rows
            repeated += len(seen.intersection(ids))
            seen.update(ids)
            rows += shard.rows
        return dg.AssetCheckResult(
            passed=bool(shards) and not repeated and not short,
            metadata={"rows": rows, "repeated_ids": repeated, "shards_with_repeats": short},
        )

    yield ids_unique
