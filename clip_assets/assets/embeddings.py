"""`embeddings`: one partition a shard, many shards a job."""

from collections.abc import Generator, Iterator
from contextlib import closing

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.shard_metadata import shard_metadata
from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.compute import EmbedClient, ShardOutcome
from clip_assets.compute.skypilot.client import PipesSkyPilotClient
from clip_assets.errors import HopelessJobError
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects


def embeddings_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=collection.embeddings_key,
        deps=[collection.catalog_key],
        partitions_def=collection.partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(collection.shards_per_run),
        description=f"Unit vectors of every image by {collection.spec.title}: parquet parts and a "
        "commit.",
        kinds={"parquet", "pytorch"},
        pool=None if collection.sky else "embed",
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
    )
    def build(
        context: dg.AssetExecutionContext,
        installation: Installation,
        compute: dg.ResourceParam[EmbedClient],
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        objects = installation.objects(collection.name)
        head = catalog.require(objects, collection.name)
        client = PipesSkyPilotClient(collection.sky) if collection.sky else compute
        run = _Run(context, collection, objects, head, client)
        try:
            # However this ends, the client hears of it, and ends the job that nobody waits for.
            with closing(run.outcomes()) as outcomes:
                for outcome in outcomes:
                    yield from run.record(outcome)
        except dg.DagsterExecutionInterruptedError as error:
            raise _terminated() from error
        except HopelessJobError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if run.unfinished:
            raise _partial_failure(run.unfinished, len(context.partition_keys))
        yield dg.MaterializeResult()

    return build


class _Run:
    """One run at work. `unfinished` says of each shard that is not committed what kept it."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        collection: Collection,
        objects: Objects,
        head: Catalog,
        client: EmbedClient,
    ) -> None:
        self._context, self._collection, self._client = context, collection, client
        self._objects, self._head = objects, head
        self.unfinished = dict.fromkeys(
            context.partition_keys, "the job ended before it came to it"
        )

    def outcomes(self) -> Generator[ShardOutcome]:
        """One outcome a shard. What is committed costs no job; its checks read it all the same."""
        due = []
        for shard in self._head.pick(self._context.partition_keys):
            if commits.read(self._objects, self._collection.spec.slug, shard.at):
                yield ShardOutcome(shard.shard, "unchanged", "")
            else:
                due.append(shard.shard)
        if due:
            yield from self._client.run(self._context, self._objects, self._job(due))

    def record(self, outcome: ShardOutcome) -> Iterator[dg.AssetMaterialization]:
        if outcome.state == "failed":
            self.unfinished[outcome.shard] = outcome.message
            return
        if self.unfinished.pop(outcome.shard, None) is None:
            return  # a recovered job says again what it found committed
        spec = self._collection.spec
        metadata = shard_metadata(self._objects, self._head, spec, outcome)
        self._context.add_asset_metadata(metadata, partition_key=outcome.shard)
        if self.unfinished:
            # Green as it commits, not with the last: a lost worker loses nothing.
            yield dg.AssetMaterialization(
                self._collection.embeddings_key, partition=outcome.shard, metadata=metadata
            )

    def _job(self, due: list[str]) -> EmbedJob:
        context = self._context
        # Named by what was asked for, not by what is due, which shrinks while a job runs.
        job_id = jobs.id_of(
            self._collection.spec.slug,
            context.partition_keys,
            context.run_id,
            context.retry_number,
        )
        return self._collection.job(job_id, context.run_id, due)


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
