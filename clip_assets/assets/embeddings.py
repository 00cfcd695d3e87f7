"""`embeddings`: one partition a shard, many shards a job."""

from collections.abc import Generator, Iterator
from contextlib import closing

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.shard_metadata import shard_metadata
from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.compute import EmbedClient, ShardReport
from clip_assets.compute.skypilot.client import PipesSkyPilotClient
from clip_assets.errors import HopelessJobError
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects


def embeddings_asset(of: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=of.embeddings_key,
        deps=[of.catalog_key],
        partitions_def=of.partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(of.shards_per_run),
        description=f"Unit vectors of every image by {of.spec.title}: parquet parts and a commit.",
        kinds={"parquet", "pytorch"},
        code_version="1",
        pool=None if of.sky else "embed",
        freshness_policy=of.freshness_policy,
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
        group_name=of.collection,
        owners=[of.owner],
    )
    def build(
        context: dg.AssetExecutionContext,
        installation: Installation,
        compute: dg.ResourceParam[EmbedClient],
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        objects = installation.objects(of.collection)
        head = catalog.require(objects, of.collection)
        client = PipesSkyPilotClient(of.sky) if of.sky else compute
        unfinished = dict.fromkeys(context.partition_keys, "the job ended before it came to it")
        try:
            # However this ends, the client hears of it, and ends the job that nobody waits for.
            with closing(_reports(context, of, objects, head, client)) as reports:
                for report in reports:
                    if report.state == "failed":
                        unfinished[report.shard] = report.message
                        continue
                    if unfinished.pop(report.shard, None) is None:
                        continue  # a recovered job says again what it found committed
                    metadata = shard_metadata(objects, head, of.spec, report)
                    context.add_asset_metadata(metadata, partition_key=report.shard)
                    if unfinished:
                        # Green as it commits, not with the last: a lost worker loses nothing.
                        yield dg.AssetMaterialization(
                            of.embeddings_key, partition=report.shard, metadata=metadata
                        )
        except dg.DagsterExecutionInterruptedError as error:
            raise _terminated() from error
        except HopelessJobError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if unfinished:
            raise _partial_failure(unfinished, len(context.partition_keys))
        yield dg.MaterializeResult()

    return build


def _reports(
    context: dg.AssetExecutionContext,
    of: Collection,
    objects: Objects,
    head: Catalog,
    client: EmbedClient,
) -> Generator[ShardReport]:
    """A report a shard. What is committed costs no job; its checks read it all the same."""
    due = []
    for shard in head.pick(context.partition_keys):
        if commits.read(objects, of.spec.slug, shard.at):
            yield ShardReport(shard.shard, "unchanged", "")
        else:
            due.append(shard.shard)
    if due:
        yield from client.run(context, objects, _job(context, of, due))


def _job(context: dg.AssetExecutionContext, of: Collection, due: list[str]) -> EmbedJob:
    return EmbedJob(
        # Named by what was asked for, not by what is due, which shrinks while a job runs.
        job_id=jobs.id_of(
            of.spec.slug, context.partition_keys, context.run_id, context.retry_number
        ),
        run_id=context.run_id,
        collection=of.collection,
        model=of.spec,
        shards=tuple(due),
        part_rows=of.part_rows,
        batch_size=of.batch_size,
        max_reject_share=of.max_reject_share,
    )


def _terminated() -> dg.Failure:
    """A plain interrupt would be answered by the retry policy: with another job."""
    return dg.Failure(
        "Terminated. Shards that were committed are kept; materialize again for the others.",
        allow_retries=False,
    )


def _partial_failure(unfinished: dict[str, str], asked: int) -> dg.Failure:
    told = [f"shard {shard}: {message}" for shard, message in list(unfinished.items())[:5]]
    return dg.Failure(
        f"{len(unfinished)} of {asked} shards failed; the others are committed. "
        "Re-execute the backfill's failed partitions after mending the cause. " + "; ".join(told),
        metadata={"failed_shards": dg.MetadataValue.json(unfinished)},
        allow_retries=False,
    )
