"""`embeddings`: one partition per shard, many shards per job."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import NamedTuple

import dagster as dg
from pydantic import Field

from clip_assets import catalog
from clip_assets.assets.failures import as_dagster_failure
from clip_assets.assets.shard_metadata import ROWS, Metadata, brief, column_schema, full
from clip_assets.catalog import Catalog
from clip_assets.collection import Collection
from clip_assets.compute import EmbedClient, ShardOutcome
from clip_assets.compute.skypilot.client import SkyPilotEmbedClient
from clip_assets.dagster_private import is_canceling, retried_tags
from clip_assets.node import job as jobs
from clip_assets.node.earlier import same_images
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.runs import worker
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects


class EmbeddingsConfig(dg.Config):
    """What one run may do differently from the YAML."""

    again: bool = Field(
        False,
        description="Embed committed shards again from scratch. The current embeddings answer "
        "until the new ones are loaded. The collection's other models embed the shards again, too.",
    )
    batch_size: int | None = Field(
        None, ge=1, description="Images per batch through the model; default: the YAML's setting."
    )


def embeddings_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=collection.embeddings_key,
        deps=[collection.catalog_key],
        partitions_def=collection.partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(collection.shards_per_run),
        description=f"One vector per image of `{collection.name}`, made by {collection.spec.title}"
        ": parquet files, in one folder per shard.",
        metadata={"dagster/column_schema": column_schema()},
        kinds={"parquet", "pytorch"},
        pool=collection.embed_pool,
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
    )
    def build(
        context: dg.AssetExecutionContext,
        config: EmbeddingsConfig,
        clip_assets_installation: Installation,
        clip_assets_compute: dg.ResourceParam[EmbedClient],
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        # If this process is killed, run monitoring frees its slot of the pool.
        context.instance.add_run_tags(context.run.run_id, worker.tags(context.run.run_id))
        objects = clip_assets_installation.objects(collection.name)
        with as_dagster_failure():
            head = catalog.require(objects, collection.name)
            if config.again:
                head = _renewed(context, objects, head, collection.spec.slug)
            client = SkyPilotEmbedClient(collection.sky) if collection.sky else clip_assets_compute
            clients = _Clients(client, clip_assets_compute)
            run = _Run(context, collection, objects, head, clients, config.batch_size)
            try:
                # Closing the generator lets the client stop a job that this run no longer awaits.
                with closing(run.outcomes()) as outcomes:
                    for outcome in outcomes:
                        yield from run.record(outcome)
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as error:
                raise _interrupted(context) from error
            yield from run.close()
        if run.unfinished:
            raise _partial_failure(run.unfinished, len(context.partition_keys))
        yield dg.MaterializeResult()

    return build


def _renewed(
    context: dg.AssetExecutionContext, objects: Objects, head: Catalog, slug: str
) -> Catalog:
    """The head with a new version of each shard of the run that is committed.

    A retry finds shards that this run, or the run it retries, has already made again.
    """
    ours = _runs(context)
    made = {
        shard.shard: commits.read(objects, slug, shard.at)
        for shard in head.pick(context.partition_keys)
    }
    old = [key for key, commit in made.items() if commit and commit.run_id not in ours]
    if old:
        context.log.info(f"embedding again from scratch: {', '.join(old)}")
        head = catalog.renew(objects, head.collection, old)
    return head


def _runs(context: dg.AssetExecutionContext) -> set[str | None]:
    """Ids of this run and of those that it retries."""
    run = context.run
    return {run.run_id, run.parent_run_id, run.root_run_id}


class _Clients(NamedTuple):
    """Where jobs run, and where jobs run that need no GPU."""

    jobs: EmbedClient
    here: EmbedClient


@dataclass
class _Run:
    """One run. `unfinished` maps each uncommitted shard to the reason."""

    context: dg.AssetExecutionContext
    collection: Collection
    objects: Objects
    head: Catalog
    clients: _Clients
    batch_size: int | None
    recorded: dict[str, Metadata] = field(default_factory=dict)
    unfinished: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        keys = self.context.partition_keys
        self.unfinished = dict.fromkeys(keys, "the job ended before reaching this shard")

    def outcomes(self) -> Generator[ShardOutcome]:
        """One outcome per shard. Committed shards need no job, but the checks still read them.

        A shard with images that could not be read is due again.
        """
        due = []
        for shard in self.head.pick(self.context.partition_keys):
            found = commits.read(self.objects, self.collection.spec.slug, shard.at)
            if found and not found.unreadable:
                yield ShardOutcome(shard.shard, "unchanged", "")
            else:
                due.append(shard.shard)
        here = [shard for shard in due if self._needs_no_gpu(shard)]
        elsewhere = [shard for shard in due if shard not in here]
        if here:
            message = f"{len(here)} shards with new captions or columns need no GPU"
            self.context.log.info(f"{message}: this machine updates them")
            yield from self.clients.here.run(self.context, self.objects, self._job(here, here))
        if elsewhere:
            yield from self.clients.jobs.run(self.context, self.objects, self._job(elsewhere))

    def _needs_no_gpu(self, key: str) -> bool:
        """Whether a SkyPilot job would only carry rows over, which this machine can do, too."""
        if self.collection.sky is None or find_spec("open_clip") is None:
            return False
        (shard,) = self.head.pick([key])
        slug = self.collection.spec.slug
        return same_images(self.objects, slug, shard, self.head.columns)

    def record(self, outcome: ShardOutcome) -> Iterator[dg.AssetMaterialization]:
        if outcome.state == "failed":
            self.unfinished[outcome.shard] = outcome.message
            return
        if self.unfinished.pop(outcome.shard, None) is None:
            return  # a recovered job reports committed shards again
        about = self.objects, self.head, self.collection.spec, outcome
        short = brief(*about)
        ours = outcome.state == "committed" or short["made_by_run"] in _runs(self.context)
        if not ours:
            self.recorded[outcome.shard] = short  # the run that made it recorded the rest
            return
        self.recorded[outcome.shard] = full(*about)
        if self.unfinished and outcome.state == "committed":
            # Report each shard when it commits, so that a lost worker loses no results. Briefly,
            # because Dagster adds an event for each shard at the run's end, and keeps both forever.
            yield dg.AssetMaterialization(
                self.collection.embeddings_key,
                "Committed.",
                metadata={ROWS: short[ROWS]},
                partition=outcome.shard,
            )

    def close(self) -> Iterator[dg.AssetMaterialization]:
        """Record each shard's metadata: in Dagster's own event, or in ours if the run fails."""
        key = self.collection.embeddings_key
        for shard, metadata in self.recorded.items():
            if self.unfinished:
                yield dg.AssetMaterialization(key, partition=shard, metadata=metadata)
            else:
                self.context.add_asset_metadata(metadata, partition_key=shard)

    def _job(self, due: list[str], named: list[str] | None = None) -> EmbedJob:
        """The job for these shards, named after `named`, or else after all requested shards."""
        context = self.context
        # The id is of the requested shards, because fewer are due at each retry.
        job_id = jobs.id_of(
            self.collection.spec.slug,
            named or context.partition_keys,
            context.run.run_id,
            context.retry_number,
        )
        job = self.collection.job(job_id, context.run.run_id, due)
        return job.model_copy(update={"batch_size": self.batch_size or job.batch_size})


def _interrupted(context: dg.AssetExecutionContext) -> dg.Failure:
    """A failure that the asset's retry policy must not retry, because the process is about to end.

    If nobody cancelled the run, its machine or Dagster itself is shutting down. Then Dagster's
    daemon must retry the run, although it failed in an asset.
    """
    if is_canceling(context.instance, context.run.run_id):
        sentence = "Terminated. Committed shards are kept; materialize the others again."
    else:
        context.instance.add_run_tags(context.run.run_id, retried_tags())
        sentence = "Dagster was stopped. Committed shards are kept; the run's retry continues."
    return dg.Failure(sentence, allow_retries=False)


def _partial_failure(unfinished: dict[str, str], asked: int) -> dg.Failure:
    lines = [f"shard {shard}: {message}" for shard, message in list(unfinished.items())[:5]]
    return dg.Failure(
        f"{len(unfinished)} of {asked} shards failed; the others are committed. "
        "Fix the cause, then retry the backfill's failed partitions. " + "; ".join(lines),
        metadata={"failed_shards": dg.MetadataValue.json(unfinished)},
        allow_retries=False,
    )
