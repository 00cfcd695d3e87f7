"""Writing a new version of a shard under a number that was never used before."""

import pyarrow as pa

from clip_assets.catalog.head import Shard
from clip_assets.catalog.rows import count_live, digest_of
from clip_assets.store import parquet, paths
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

Versions = dict[str, ShardVersion]
"""The newest version ever written of each shard, by shard key; digests are abbreviated."""


def written_versions(objects: Objects) -> Versions:
    """The newest version of each shard that has a file, whether or not the head names it."""
    found: Versions = {}
    for entry in objects.list(paths.CATALOG_FOLDER):
        if version := paths.catalog_version(entry.path):
            found[version.shard] = max(found.get(version.shard, version), version)
    return found


def next_version(objects: Objects, shard: Shard, rows: pa.Table | None, given: Versions) -> Shard:
    """The shard with these rows as its next version; unchanged if `rows` is None."""
    if rows is None:
        return shard
    return write(objects, shard.shard, shard.version + 1, rows, given)


def write(objects: Objects, shard: str, version: int, rows: pa.Table, given: Versions) -> Shard:
    """Write at least this version of the shard.

    After the head was lost or restored from an older copy, newer versions may exist. The newest is
    reused with its embeddings if its rows are the same; otherwise the new version gets the next
    number, so that numbers stay unique.
    """
    digest, newest = digest_of(rows), given.get(shard)
    if newest and newest.version >= version:
        version = newest.version + (not digest.startswith(newest.digest))
    made = Shard(shard=shard, version=version, digest=digest, rows=len(rows), live=count_live(rows))
    objects.put(paths.catalog_shard(made.at), parquet.to_bytes(rows))
    return made
