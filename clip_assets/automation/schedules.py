"""Daily schedule: embeds shards that the sensors missed and verifies the oldest shards."""

import math
from collections.abc import Iterator

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.batches import batches, range_tags
from clip_assets.automation.shard_ages import oldest_shards
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.status import is_live, missing_shards


def reconcile_schedule(collection: Collection) -> dg.ScheduleDefinition:
    """Materialize missing shards, and verify those verified longest ago.

    A committed shard starts no job: its checks compare every file with its commit. At least one
    shard is materialized each day, so that index and release reconcile too.
    """

    @dg.schedule(
        name=f"{collection.name_with_model}_reconcile",
        cron_schedule=collection.reconcile_cron,
        target=dg.AssetSelection.assets(collection.embeddings_key),
        description="Once a day, embeds missing and failed shards and verifies the files of those "
        "verified longest ago. Updates index and release afterwards.",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if collection.automate
        else dg.DefaultScheduleStatus.STOPPED,
    )
    def reconcile(
        context: dg.ScheduleEvaluationContext, clip_assets_installation: Installation
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        objects = clip_assets_installation.objects(collection.name)
        head = catalog.read(objects)
        if head is None:
            yield dg.SkipReason("Materialize the catalog once to enable this schedule.")
            return
        with clip_assets_installation.connect() as connection:
            live = is_live(connection, *collection.index_key)
        if not live:
            yield dg.SkipReason(
                f"This model as {collection.vector_type} is not live, or was rolled back."
            )
            return
        keys = [shard.shard for shard in head.shards]
        # Verify twice per period, so that one missed night makes no shard overdue.
        share = math.ceil(2 * len(keys) / collection.verify_within_days)
        unseen = oldest_shards(context.instance, collection.embeddings_key, keys)[:share]
        due = sorted({*missing_shards(objects, head, collection.spec.slug), *unseen})
        for batch in batches(due, collection.shards_per_run):
            tick = context.scheduled_execution_time.isoformat()
            yield dg.RunRequest(
                run_key=f"{tick} {batch[0]}",
                asset_selection=[collection.embeddings_key],
                tags=range_tags(batch),
            )

    return reconcile
