"""A weekly schedule, off by default, that verifies a whole collection."""

import dagster as dg

from clip_assets.collection import Collection


def verify_schedule(collection: Collection, check: dg.AssetCheckKey) -> dg.ScheduleDefinition:
    """On Sundays. It downloads every file, while the check `oldest_shard` reads some each day."""
    name = f"{collection.name}_verify"
    job = dg.define_asset_job(
        name,
        dg.AssetSelection.checks(check),
        description=f"Verifies all of {collection.name}: source, catalog, files, indexes, release.",
        tags=collection.shared_tags,
        run_tags=collection.shared_tags,
        executor_def=dg.in_process_executor,
    )
    return dg.ScheduleDefinition(
        name=f"{name}_weekly",
        job=job,
        cron_schedule="0 4 * * 0",
        description="Verifies the whole collection once a week. Off by default.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
