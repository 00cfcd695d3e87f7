"""A weekly schedule, off by default, that deletes old runs from Dagster's storage."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from clip_assets.automation.jobs import one_op_job
from clip_assets.collection import Collection
from clip_assets.runs.pruning import prune


class Pruning(dg.Config):
    """Which runs count as old."""

    older_than_days: int = Field(
        30, ge=1, description="Runs that ended longer ago are deleted, with their events and logs."
    )


def prune_schedule(collection: Collection) -> dg.ScheduleDefinition:
    """On Sundays. Keeps the run of every newest materialization, and all files."""
    name = f"{collection.name}_prune"

    @dg.op(name=f"{name}_runs")
    def delete_old_runs(context: dg.OpExecutionContext, config: Pruning) -> None:
        before = datetime.now(UTC) - timedelta(days=config.older_than_days)
        deleted = prune(context.instance, collection.name, before)
        context.log.info(f"deleted {deleted} runs that ended before {before:%Y-%m-%d}")

    job = one_op_job(
        collection,
        name,
        delete_old_runs,
        f"Deletes old runs of {collection.name} from Dagster's storage, except those that made "
        "the newest materialization of a shard or asset. Deletes no file.",
    )

    return dg.ScheduleDefinition(
        name=f"{name}_weekly",
        job=job,
        cron_schedule="0 5 * * 0",
        description="Deletes runs older than 30 days from Dagster's storage. Off by default.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
