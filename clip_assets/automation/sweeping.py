"""A weekly schedule that deletes the files of replaced shard versions."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from clip_assets.automation.jobs import one_op_job
from clip_assets.automation.status import schedule_status
from clip_assets.collection import Collection
from clip_assets.errors import ClipAssetsError
from clip_assets.release.sweep import KEEP, loaded_commits, sweep
from clip_assets.resources import Installation


class Sweeping(dg.Config):
    """Which files count as old."""

    keep_days: int = Field(
        KEEP.days, ge=0, description="Versions replaced less than this many days ago are kept."
    )


def sweep_schedule(collection: Collection) -> dg.ScheduleDefinition:
    """On Saturdays, before the whole collection is verified. Skipped until an index is loaded."""
    name = f"{collection.name}_sweep"

    @dg.op(name=f"{name}_files")
    def delete_replaced_files(
        context: dg.OpExecutionContext,
        config: Sweeping,
        clip_assets_installation: Installation,
    ) -> None:
        objects = clip_assets_installation.objects(collection.name)
        keep = timedelta(days=config.keep_days)
        try:
            with clip_assets_installation.connect() as connection:
                swept = sweep(connection, objects, collection.name, keep)
        except ClipAssetsError as error:
            raise dg.Failure(str(error)) from error
        context.log.info(f"{swept}.")

    job = one_op_job(
        collection,
        name,
        delete_replaced_files,
        f"Deletes files of {collection.name} that belong to replaced shard versions, unless an "
        "index has rows of them.",
    )

    @dg.schedule(
        name=f"{name}_weekly",
        job=job,
        cron_schedule="0 5 * * 6",
        description="Deletes files that were replaced more than a week ago.",
        default_status=schedule_status(collection),
    )
    def weekly(clip_assets_installation: Installation) -> dg.RunRequest | dg.SkipReason:
        with clip_assets_installation.connect() as connection:
            if not loaded_commits(connection, collection.name):
                return dg.SkipReason("Nothing is loaded into an index yet.")
        return dg.RunRequest()

    return weekly
