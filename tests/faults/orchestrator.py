"""A Dagster instance that materializes all assets of a collection, in the process that asks."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.batches import batches, range_tags
from clip_assets.component.image_collection import ImageCollection
from clip_assets.compute import ShardOutcome
from clip_assets.dagster_private import create_run
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob
from clip_assets.resources import Installation
from clip_assets.status import missing_shards
from clip_assets.store.objects import Objects


class FailedError(Exception):
    """A run has failed, with these reasons."""


class Here(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An EmbedClient that runs the node's program in the process of the run."""

    def run(
        self, context: dg.AssetExecutionContext, objects: Objects, job: EmbedJob
    ) -> Iterator[ShardOutcome]:
        embed.run(objects, job)
        yield from (ShardOutcome(shard, "committed", "") for shard in job.shards)


@dataclass(frozen=True)
class Orchestrator:
    """Environment settings name the data and the database; `compute` says where jobs run."""

    instance: dg.DagsterInstance
    collection: ImageCollection
    compute: dg.ConfigurableResource = field(default_factory=Here)  # type: ignore[type-arg]

    @property
    def steps(self) -> list[Callable[[], None]]:
        """Catalog, missing embeddings, index and release. Each step may raise FailedError."""
        made = self.collection
        return [
            lambda: self._run(made.catalog_key, {}),
            self._embed_missing,
            lambda: self._run(made.search_index_key, {}),
            lambda: self._run(made.release_key, {}),
        ]

    @cached_property
    def _defs(self) -> dg.Definitions:
        built = self.collection.build_defs(dg.ComponentTree.for_test().load_context)
        return dg.Definitions(
            assets=built.assets,
            asset_checks=built.asset_checks,
            resources={
                "clip_assets_installation": Installation(),
                "clip_assets_compute": self.compute,
            },
        )

    def _embed_missing(self) -> None:
        objects = Installation().objects(self.collection.name)
        head = catalog.require(objects, self.collection.name)
        for batch in batches(missing_shards(objects, head, self.collection.spec.slug), 100):
            self._run(self.collection.embeddings_key, range_tags(batch))

    def _run(self, key: dg.AssetKey, tags: dict[str, str]) -> None:
        run_id = str(uuid.uuid4())
        create_run(self.instance, self._defs, key, run_id, location="here", tags=tags).execute()
        run = self.instance.get_run_by_id(run_id)
        assert run
        if not run.is_success:
            failed = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            events = [entry.dagster_event for entry in failed if entry.dagster_event]
            reasons = [str(event.step_failure_data.error) for event in events]
            raise FailedError("\n".join(reasons))
