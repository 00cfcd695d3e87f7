"""Named jobs of a collection, so that its runs can be told apart in the runs list and launched.

A backfill and an automation condition launch runs of Dagster's own unnamed job; everything else
that is launched here has one of these names.
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

    A model without the collection's `source:` has its own name in the names of its jobs, too: job
    names are unique, and those of the first model stay as they are when a second one is added.
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
            # A process for each step would spend three CPU-seconds on imports.
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
