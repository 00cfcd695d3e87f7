"""`catalog`: every image of the collection, divided into shards, which become partitions."""

from collections.abc import Iterable

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.failures import as_dagster_failure
from clip_assets.automation.conditions import catalog_condition
from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.dagster_private import newest_materializations
from clip_assets.resources import Installation
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store import paths
from clip_assets.store.objects import Objects


def catalog_asset(collection: Collection) -> dg.AssetsDefinition:
    source = collection.require_source()

    @dg.asset(
        key=collection.catalog_key,
        description=f"The list of all images of `{collection.name}`, divided into shards.",
        config_schema={},  # a run config would be ignored, so it is refused
        kinds={"parquet"},
        automation_condition=catalog_condition(collection),
    )
    @as_dagster_failure()
    def build(
        context: dg.AssetExecutionContext, clip_assets_installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        objects = clip_assets_installation.objects(collection.name)
        before = catalog.read(objects)
        known = {shard.shard: shard for shard in before.shards} if before else {}
        images = open_source(source, collection.knowledge)
        head = catalog.refresh(
            objects,
            collection.name,
            source,
            images.list(),
            collection.shard_size,
            skipped=images.skipped,
            columns=collection.columns,
            told=lambda: images.told,
            max_vanished_share=collection.max_vanished_share,
        )
        keys = [shard.shard for shard in head.shards]
        deleted = _deleted(context.instance, collection, known)
        context.instance.add_dynamic_partitions(collection.partitions_name, keys)
        recorded = _record_committed(context.instance, collection, objects, head)
        if deleted or recorded:
            context.log.warning(
                f"Dagster had lost {len(deleted)} partitions and {recorded} materializations of "
                "committed shards. They are recorded again; nothing was embedded."
            )
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
                "columns": dg.MetadataValue.json(head.told.sentences),
                "partitions_restored": len(deleted),
                "materializations_restored": recorded,
            },
        )

    return build


def _deleted(
    instance: dg.DagsterInstance, collection: Collection, known: Iterable[str]
) -> list[str]:
    """Shards of the previous catalog whose partitions somebody deleted."""
    there = set(instance.get_dynamic_partitions(collection.partitions_name))
    return [shard for shard in known if shard not in there]


def _record_committed(
    instance: dg.DagsterInstance, collection: Collection, objects: Objects, head: Catalog
) -> int:
    """Record the committed shards that Dagster has no event for; returns how many.

    Wiping an asset deletes its events but not its files, which are searched as before. A shard
    that was embedded without Dagster has no event either.
    """
    recorded = 0
    for slug in commits.slugs(objects):
        key = collection.embeddings_key_of(slug)
        newest = commits.newest(objects, slug)
        current = {s.shard for s in head.shards if newest.get(s.shard) == paths.commit(slug, s.at)}
        for shard in sorted(current - newest_materializations(instance, key).keys()):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key,
                    partition=shard,
                    metadata={"state": "restored", "dagster/uri": objects.uri(newest[shard])},
                )
            )
            recorded += 1
    return recorded
