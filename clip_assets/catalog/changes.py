"""New versions of chosen shards: without the traces of erased images, or to be embedded again."""

from collections.abc import Callable, Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from clip_assets.catalog.head import Catalog, Shard, no_catalog, replace_head
from clip_assets.catalog.query import numbered, query
from clip_assets.catalog.rows import digest_of, read_shard
from clip_assets.catalog.versions import next_version, written_versions
from clip_assets.store import parquet
from clip_assets.store.objects import Objects

_SCRUBBED = """
SELECT k.image_id,
       CASE WHEN gone.image_id IS NULL THEN k.uri ELSE '' END AS uri,
       CASE WHEN gone.image_id IS NULL THEN k.offset END AS offset,
       CASE WHEN gone.image_id IS NULL THEN k.size END AS size,
       CASE WHEN gone.image_id IS NULL THEN k.row END AS row,
       CASE WHEN gone.image_id IS NULL THEN k.caption END AS caption,
       CASE WHEN gone.image_id IS NULL THEN k.etag ELSE '' END AS etag,
       k.tombstone OR gone.image_id IS NOT NULL AS tombstone,
       CASE WHEN gone.image_id IS NULL THEN k.fault END AS fault,
       CASE WHEN gone.image_id IS NULL THEN k.columns END AS columns
FROM known AS k LEFT JOIN gone USING (image_id) ORDER BY k.n
"""


def change(
    objects: Objects, collection: str, shards: Callable[[Catalog], Mapping[str, Shard]]
) -> Catalog:
    """Make these the current versions of their shards; returns the new head.

    `shards` gets the head. It is called again if another process has changed the head meanwhile.
    """

    def changed(head: Catalog | None) -> Catalog:
        if head is None:
            raise no_catalog(objects, collection)
        new = shards(head)
        kept = tuple(new.get(shard.shard, shard) for shard in head.shards)
        return head.model_copy(update={"shards": kept})

    return replace_head(objects, changed)


def scrub(objects: Objects, head: Catalog, gone: Collection[str]) -> dict[str, Shard]:
    """Turn these images into bare tombstones: no URI, no caption, no trace of the file.

    Returns the new version of each affected shard, by shard key. The caller updates the head, so
    that it can rewrite the embeddings before readers look for them.
    """
    names = pa.table({"image_id": pa.array(sorted(gone), pa.string())})
    found, given = {}, written_versions(objects)
    for shard in head.shards:
        rows = read_shard(objects, shard.at)
        if pc.any(pc.is_in(rows.column("image_id"), names.column("image_id"))).as_py():
            bare = query(_SCRUBBED, known=numbered(rows), gone=names).cast(parquet.CATALOG)
            same = digest_of(bare) == shard.digest
            found[shard.shard] = next_version(objects, shard, None if same else bare, given)
    return found


def renew(objects: Objects, collection: str, keys: Collection[str]) -> Catalog:
    """A new version of each of these shards with the same images, so that they are embedded again.

    Their current embeddings stay until the new ones are committed. All models of the collection
    share the version. Writes the new head and returns it.
    """

    def renewed(head: Catalog) -> Mapping[str, Shard]:
        given = written_versions(objects)
        return {
            shard.shard: next_version(
                objects, shard, read_shard(objects, shard.at), given
            ).model_copy(update={"renewed": True})
            for shard in head.pick(keys)
        }

    return change(objects, collection, renewed)
