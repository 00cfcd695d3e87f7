"""Named jobs of a collection, which a user can launch and recognise in the list of runs.

Backfills and automation conditions launch runs of Dagster's own unnamed job; all other runs have
one of these names.
"""

from dataclasses import dataclass

import dagster as dg
from dagster import AssetSelection

from clip_assets.collection import Collection
from clip_assets.dagster_private import AssetJob


@dataclass(frozen=True)
class Jobs:
    """`listing` is None for a model of a collection whose `source:` is in another file."""

    listing: AssetJob | None
    embed: AssetJob
    publish: AssetJob

    @property
    def all(self) -> list[AssetJob]:
        return [job for job in (self.listing, self.embed, self.publish) if job is not None]


def jobs_of(collection: Collection) -> Jobs:
    """`photos_list`, `photos_embed` and `photos_publish`.

    If a model's file has no `source:`, the names of its jobs also contain the model: job names
    must be unique, and those of the first model must not change when a second one is added.
    """
    model = None if collection.source else collection.model_key
    prefix = f"{collection.name}_{model}" if model else collection.name
    title = collection.spec.title

    def job(name: str, description: str, *keys: dg.AssetKey) -> AssetJob:
        return dg.define_asset_job(
            f"{prefix}_{name}",
            AssetSelection.assets(*keys),
            description=description,
            tags={**collection.tags},
            run_tags={**collection.tags},
            # With a process per step, each would spend three CPU-seconds on imports.
            executor_def=dg.in_process_executor,
        )

    return Jobs(
        job("list", f"Lists the images of {collection.name}.", collection.catalog_key)
        if collection.source
        else None,
        job("embed", f"Embeds shards of {collection.name} by {title}.", collection.embeddings_key),
        job(
            "publish",
            f"Loads and judges the index of {collection.name} by {title}, and publishes it.",
            collection.search_index_key,
            collection.release_key,
        ),
    )


def one_op_job(
    collection: Collection, name: str, op: dg.OpDefinition, description: str
) -> dg.JobDefinition:
    """A job of all models of the collection that materializes nothing, in the run's own process."""

    @dg.job(
        name=name,
        description=description,
        executor_def=dg.in_process_executor,
        tags=collection.shared_tags,
    )
    def job() -> None:
        op()

    return job
