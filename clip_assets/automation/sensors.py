"""Sensors for changes in the source and in the catalog, which Dagster cannot see."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.batches import batches, range_tags
from clip_assets.automation.listing import PATIENCE_SECONDS, Lister
from clip_assets.automation.status import sensor_status
from clip_assets.catalog import Shard
from clip_assets.collection import Collection
from clip_assets.dagster_private import AssetJob, requested_backfills
from clip_assets.resources import Installation
from clip_assets.source.config import Knowledge
from clip_assets.source.open import open_source
from clip_assets.status import is_live, missing_shards

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# A command-line backfill has short gaps between its runs.
_QUIET = timedelta(seconds=15)
# A process that was killed leaves its run unfinished forever; that run must not block others.
_ABANDONED = timedelta(days=1)


def new_images_sensor(
    collection: Collection, job: AssetJob, patience: float = PATIENCE_SECONDS
) -> dg.SensorDefinition:
    """Refresh the catalog when the source lists different images.

    The listing may take hours: a tick starts it and waits `patience` seconds; if it takes longer, a
    later tick compares the result.
    """
    source = collection.require_source()
    lister = Lister(lambda: open_source(source, collection.knowledge).list(), patience)

    @dg.sensor(
        name=f"{collection.name}_new_images",
        job=job,
        minimum_interval_seconds=collection.look_every_seconds,
        description="Lists the source; refreshes the catalog if its images have changed.",
        default_status=sensor_status(collection),
    )
    def new_images(
        clip_assets_installation: Installation,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        head = catalog.read(clip_assets_installation.objects(collection.name))
        if head is None:
            yield dg.SkipReason("Materialize the catalog once to enable this sensor.")
            return
        listing = lister.digest()
        if listing is None:
            yield dg.SkipReason(lister.progress)
        elif head.listing == listing and head.columns == collection.columns:
            yield dg.SkipReason("The source has not changed.")
        else:
            declared = Knowledge(columns=collection.columns).model_dump_json()
            # The key has both listings, because a source may return to an earlier state.
            change = f"{head.listing} {listing} {declared}"
            key = hashlib.sha256(change.encode()).hexdigest()
            yield dg.RunRequest(run_key=key, asset_selection=[collection.catalog_key])

    return new_images


def missing_shards_sensor(collection: Collection, job: AssetJob) -> dg.SensorDefinition:
    """Embed new and changed shards of the catalog, for the live model."""

    @dg.sensor(
        name=f"{collection.name_with_model}_missing_shards",
        job=job,
        minimum_interval_seconds=collection.follow_every_seconds,
        description="Embeds new and changed shards, `shards_per_run` per run, for the live model "
        "only: backfill and release a new model manually.",
        default_status=sensor_status(collection),
    )
    def missing(
        context: dg.SensorEvaluationContext, clip_assets_installation: Installation
    ) -> dg.SensorResult | dg.SkipReason:
        objects = clip_assets_installation.objects(collection.name)
        head = catalog.read(objects)
        if head is None or context.cursor == head.listing:
            return dg.SkipReason("The catalog has not changed since every shard was embedded.")
        due = missing_shards(objects, head, collection.spec.slug)
        if not due:
            return dg.SensorResult(skip_reason="Every shard is embedded.", cursor=head.listing)
        with clip_assets_installation.connect() as connection:
            if not is_live(connection, *collection.index_key):
                return dg.SkipReason(
                    f"{len(due)} shards need a manual run: this model as "
                    f"{collection.vector_type} is not live, or was rolled back. "
                    "Backfill them, then materialize `search_index` and `release`."
                )
        if busy := what_is_at_work(context.instance, collection):
            return dg.SkipReason(f"{len(due)} shards wait: {busy}.")
        return dg.SensorResult(
            run_requests=[
                # The key includes the shards' versions: failed shards are requested once more,
                # then not until they change or the daily `reconcile` runs.
                dg.RunRequest(
                    run_key=_key(head.pick(batch)),
                    asset_selection=[collection.embeddings_key],
                    tags=range_tags(batch),
                )
                for batch in batches(due, collection.shards_per_run)
            ]
        )

    return missing


def what_is_at_work(instance: dg.DagsterInstance, collection: Collection) -> str:
    """The run or backfill that is working on this collection or just ended; empty if none."""
    keys = {collection.catalog_key, collection.embeddings_key}
    now = datetime.now(UTC)
    working = dg.RunsFilter(statuses=_UNFINISHED, updated_after=now - _ABANDONED)
    for chosen in (working, dg.RunsFilter(updated_after=now - _QUIET)):
        for run in instance.get_runs(chosen):
            if keys & (run.asset_selection or set()):
                return f"run {run.run_id[:8]} is working on this collection, or just ended"
    for backfill, assets in requested_backfills(instance):
        if keys & assets:
            return f"backfill {backfill} is working on this collection"
    return ""


def _key(shards: Sequence[Shard]) -> str:
    versions = " ".join(f"{shard.shard} {shard.version} {shard.digest}" for shard in shards)
    return hashlib.sha256(versions.encode()).hexdigest()
