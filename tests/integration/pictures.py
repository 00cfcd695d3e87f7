"""A collection of real pictures, through the real catalog and node program."""

from pathlib import Path

from clip_assets import catalog
from clip_assets.model import ModelSpec
from clip_assets.node import embed
from clip_assets.node.job import EmbedJob, write
from clip_assets.source.config import NOTHING, FolderConfig, Knowledge
from clip_assets.source.open import open_source
from clip_assets.store.objects import Objects
from tests.integration.support import COLLECTION


def embed_pictures(
    root: Path,
    folder: Path,
    spec: ModelSpec,
    shard_size: int = 20,
    knowledge: Knowledge = NOTHING,
) -> Objects:
    """The folder's pictures through catalog and node program, as a job of Dagster would."""
    objects = Objects(str(root))
    source = FolderConfig(uri=str(folder))
    listed = open_source(source, knowledge).list()
    columns = knowledge.columns
    head = catalog.refresh(objects, COLLECTION, source, listed, shard_size, columns=columns)
    job = EmbedJob(
        job_id=f"job-{spec.slug}",
        run_id="run-1",
        collection=COLLECTION,
        model=spec,
        shards=tuple(shard.shard for shard in head.shards),
        part_rows=7,
        max_reject_share=0.1,
    )
    write(objects, job)
    assert embed.run(objects, job) == 0
    return objects
