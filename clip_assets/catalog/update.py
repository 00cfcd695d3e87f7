"""Updating the catalog to match a listing."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa

from clip_assets.catalog.differences import UNSEEN, known_rows, refuse_vanished
from clip_assets.catalog.head import Catalog, Shard, replace_head
from clip_assets.catalog.listing import listing_table, without
from clip_assets.catalog.query import numbered, query
from clip_assets.catalog.rows import digest_of
from clip_assets.catalog.versions import next_version, write, written_versions
from clip_assets.column import Column
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.source.joins import JoinReport
from clip_assets.store import parquet
from clip_assets.store.erased import erased
from clip_assets.store.identity import data_id
from clip_assets.store.objects import Objects


def refresh(  # noqa: PLR0913 - the last ones are options
    objects: Objects,
    collection: str,
    source: SourceConfig,
    listed: Iterable[ImageRef],
    shard_size: int,
    *,
    skipped: Mapping[str, int] | None = None,
    columns: Mapping[str, Column] | None = None,
    told: Callable[[], JoinReport] = JoinReport,
    max_vanished_share: float = 1,
) -> Catalog:
    """Update the catalog to match the listing and write it; returns the new head.

    Memory holds the listing and the previous rows as Arrow columns, not as Python objects.
    `skipped` and `told` are read after `listed`. If the declared columns change, every shard gets a
    new version. Raises SourceError, and changes nothing, if more than `max_vanished_share` of the
    images that were listed before are no longer listed.
    """
    found = listing_table(listed)

    def listed_now(before: Catalog | None) -> Catalog:
        known = before or Catalog(collection=collection, source=source)
        changes = {
            "collection": collection,
            "source": source,
            "listing": digest_of(found),
            "skipped": dict(skipped or {}),
            "columns": dict(columns or {}),
            "told": told(),
        }
        wanted = known.model_copy(update=changes)
        shards = _relisted(objects, known, wanted, found, shard_size, max_vanished_share)
        return wanted.model_copy(update={"shards": shards})

    head = replace_head(objects, listed_now)
    data_id(objects)  # created here, so that indexing needs no right to write to the store
    return head


def _relisted(  # noqa: PLR0913, PLR0917 - what the shards follow from
    objects: Objects,
    before: Catalog,
    wanted: Catalog,
    found: pa.Table,
    shard_size: int,
    max_vanished_share: float,
) -> tuple[Shard, ...]:
    listing = numbered(without(found, erased(objects).image_ids))
    known = numbered(known_rows(objects, before))
    refuse_vanished(known, listing, before, wanted.source, max_vanished_share)
    same = [*before.columns.items()] == [*wanted.columns.items()]
    given = written_versions(objects)
    kept = [
        next_version(objects, shard, rows, given)
        for shard, rows in _updated(before, known, listing, renewed=not same)
    ]
    fresh = query(
        "SELECT * EXCLUDE (n) FROM listing WHERE NOT EXISTS "
        "(FROM known WHERE known.image_id = listing.image_id) ORDER BY n",
        known=known,
        listing=listing,
    )
    start = len(before.shards)
    new = [
        write(objects, f"{start + number:05d}", 1, rows, given)
        for number, rows in enumerate(_cut(fresh, shard_size))
    ]
    return (*kept, *new)


def _updated(
    before: Catalog, known: pa.Table, listing: pa.Table, *, renewed: bool
) -> Iterator[tuple[Shard, pa.Table | None]]:
    """Each shard with its new rows, or with None if nothing changed; with `renewed`, never None."""
    now = query(
        f"""
        SELECT k.image_id,
               coalesce(l.uri, k.uri) AS uri,
               CASE WHEN l.image_id IS NULL THEN k.offset ELSE l.offset END AS offset,
               CASE WHEN l.image_id IS NULL THEN k.size ELSE l.size END AS size,
               CASE WHEN l.image_id IS NULL THEN k.row ELSE l.row END AS row,
               CASE WHEN l.image_id IS NULL THEN k.caption ELSE l.caption END AS caption,
               coalesce(l.etag, k.etag) AS etag,
               CASE WHEN l.image_id IS NULL AND {UNSEEN} THEN k.tombstone
                    ELSE l.image_id IS NULL END AS tombstone,
               CASE WHEN l.image_id IS NULL THEN k.fault ELSE l.fault END AS fault,
               CASE WHEN l.image_id IS NULL THEN k.columns ELSE l.columns END AS columns
        FROM known AS k LEFT JOIN listing AS l USING (image_id)
        ORDER BY k.n
        """,
        known=known,
        listing=listing,
    )
    start = 0
    for shard in before.shards:
        rows = now.slice(start, shard.rows).cast(parquet.CATALOG)
        start += shard.rows
        yield shard, None if not renewed and digest_of(rows) == shard.digest else rows


def _cut(rows: pa.Table, shard_size: int) -> Iterator[pa.Table]:
    live = rows.add_column(
        rows.column_names.index("fault"),
        parquet.CATALOG.field("tombstone"),
        pa.array([False] * len(rows), pa.bool_()),
    )
    for start in range(0, len(live), shard_size):
        yield live.slice(start, shard_size).cast(parquet.CATALOG)
