"""What is wrong with the committed embeddings of one shard."""

import pyarrow as pa

from clip_assets.catalog import Shard
from clip_assets.errors import ClipAssetsError
from clip_assets.quality.vectors import inspect
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects


def fault(objects: Objects, slug: str, shard: Shard) -> str:
    """What is wrong with the shard's embeddings for this model slug; empty if nothing is."""
    commit = commits.read(objects, slug, shard.at)
    if commit is None:
        return "not committed"
    if commit.rows + commit.rejected != shard.live:
        return f"{commit.rows} rows and {commit.rejected} rejects of {shard.live} images"
    return fault_of_files(objects, commit)


def fault_of_files(objects: Objects, commit: Commit) -> str:
    """What is wrong with the commit's files and vectors; reads all of them."""
    try:
        parts = [commits.read_part(objects, part, ["embedding"]) for part in commit.parts]
    except ClipAssetsError as error:
        return str(error)
    return inspect(parquet.vectors(pa.concat_tables(parts))).text
