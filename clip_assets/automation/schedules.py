"""Daily schedule: embeds the shards that the sensors missed."""

from collections.abc import Iterator

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.batches import batches, range_tags
from clip_assets.automation.sensors import what_is_at_work
from clip_assets.automation.status import schedule_status
from clip_assets.collection import Collection
from clip_assets.dagster_private import AssetJob
from clip_assets.resources import Installation
from clip_assets.status import is_live, missing_shards
from clip_assets.store import commit as commits
from clip_assets.store import verified
from clip_assets.store.objects import Objects


def reconcile_schedule(collection: Collection, job: AssetJob) -> dg.ScheduleDefinition:
    """Materialize missing shards or, if there are none, one committed shard.

    So something is materialized each day: a stopped daemon is noticed, and index and release
    reconcile, too. The check `oldest_shard` verifies old files.
    """

    @dg.schedule(
        name=f"{collection.name_with_model}_reconcile",
        cron_schedule=collection.reconcile_cron,
        target=job,
        description="Once a day, embeds missing and failed shards. If there are none, verifies one "
        "shard. Index and release are updated afterwards.",
        default_status=schedule_status(collection),
    )
    def reconcile(
        context: dg.ScheduleEvaluationContext, clip_assets_installation: Installation
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        objects = clip_assets_installation.objects(collection.name)
        head = catalog.read(objects)
        if head is None or not head.shards:
            yield dg.SkipReason("Materialize the catalog once to enable this schedule.")
            return
        with clip_assets_installation.connect() as connection:
            live = is_live(connection, *collection.index_key)
        if not live:
            yield dg.SkipReason(
                f"This model as {collection.vector_type} is not live, or was rolled back."
            )
            return
        # After days without a daemon, Dagster runs up to five missed ticks at once.
        if busy := what_is_at_work(context.instance, collection):
            yield dg.SkipReason(f"{busy}.")
            return
        slug = collection.spec.slug
        due = missing_shards(objects, head, slug) or [_oldest(objects, slug)]
        for batch in batches(due, collection.shards_per_run):
            tick = context.scheduled_execution_time.isoformat()
            yield dg.RunRequest(
                run_key=f"{tick} {batch[0]}",
                asset_selection=[collection.embeddings_key],
                tags=range_tags(batch),
            )

    return reconcile


def _oldest(objects: Objects, slug: str) -> str:
    """The shard whose files were verified longest ago; every shard is committed."""
    newest, times = commits.newest(objects, slug), verified.read(objects, slug)
    return min(newest, key=lambda shard: (times.get(newest[shard], 0), shard))
