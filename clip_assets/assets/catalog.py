"""`catalog`: every image of the collection, divided into shards, which become partitions."""

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.conditions import catalog_condition
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.source.open import open_source


def catalog_asset(collection: Collection) -> dg.AssetsDefinition:
    source = collection.require_source()

    @dg.asset(
        key=collection.catalog_key,
        description=f"All images of `{collection.name}` in a stable order, divided into shards.",
        kinds={"parquet"},
        automation_condition=catalog_condition(collection),
    )
    def build(
        context: dg.AssetExecutionContext, installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        objects = installation.objects(collection.name)
        before = catalog.read(objects)
        known = {shard.shard: shard for shard in before.shards} if before else {}
        images = open_source(source)
        head = catalog.refresh(
            objects,
            collection.name,
            source,
            images.list(),
            collection.shard_size,
            skipped=images.skipped,
            max_vanished_share=collection.max_vanished_share,
        )
        keys = [shard.shard for shard in head.shards]
        context.instance.add_dynamic_partitions(collection.partitions_name, keys)
        changed = [shard.shard for shard in head.shards if known.get(shard.shard) != shard]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(head.listing),
            metadata={
                "dagster/row_count": head.images,
                "dagster/uri": objects.root,
                "shards": len(keys),
                "new_or_changed_shards": len(changed),
                "tombstones": sum(shard.rows - shard.live for shard in head.shards),
                "skipped": dg.MetadataValue.json(head.skipped),
            },
        )

    return build
