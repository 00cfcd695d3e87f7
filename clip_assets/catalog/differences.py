"""How a listing differs from the catalog."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from clip_assets.catalog.head import Catalog
from clip_assets.catalog.listing import listing_table, without
from clip_assets.catalog.query import query
from clip_assets.catalog.rows import digest_of, read_shard
from clip_assets.errors import SourceError
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.store import parquet
from clip_assets.store.erased import erased
from clip_assets.store.objects import Objects

# An image below a folder or in a tar that cannot be read at present is not gone.
UNSEEN = """EXISTS (
    FROM listing AS below WHERE below.fault IS NOT NULL AND below.image_id LIKE '%/'
    AND starts_with(k.image_id, below.image_id)
)"""
"""A condition on a row `k` of the catalog, in a query that has the listing as `listing`."""


@dataclass(frozen=True)
class Differences:
    """How many images are listed now, how many of them are new to the catalog or changed, and how
    many of the catalog's are no longer listed (`gone`)."""

    listed: int
    new: int = 0
    changed: int = 0
    gone: int = 0


def compare(objects: Objects, head: Catalog, listed: Iterable[ImageRef]) -> Differences:
    """What `refresh` would change, without changing anything."""
    found = listing_table(listed)
    if digest_of(found) == head.listing:
        return Differences(len(found))
    counts = query(
        f"""
        SELECT count(*) FILTER (l.image_id IS NOT NULL AND coalesce(k.tombstone, true)) AS new,
               count(*) FILTER (NOT k.tombstone AND k.etag <> l.etag) AS changed,
               count(*) FILTER (l.image_id IS NULL AND NOT k.tombstone AND NOT {UNSEEN}) AS gone
        FROM known AS k FULL JOIN listing AS l USING (image_id)
        """,
        known=known_rows(objects, head),
        listing=without(found, erased(objects).image_ids),
    )
    return Differences(len(found), **counts.to_pylist()[0])


def refuse_vanished(
    known: pa.Table, listing: pa.Table, before: Catalog, source: SourceConfig, allowed: float
) -> None:
    """Raises SourceError if more than the share `allowed` of the known images are not listed."""
    gone, live = (
        query(
            f"""
        SELECT count(*) FILTER (WHERE l.image_id IS NULL AND NOT {UNSEEN}), count(*)
        FROM known AS k LEFT JOIN listing AS l USING (image_id)
        WHERE NOT k.tombstone AND k.fault IS NULL
        """,
            known=known,
            listing=listing,
        )
        .to_pylist()[0]
        .values()
    )
    if gone <= allowed * live:
        return
    moved = " The address of the source has changed." if source != before.source else ""
    raise SourceError(
        f"{gone} of {live} images ({gone / live:.0%}) of {before.collection} are no longer in the "
        f"source, more than max_vanished_share {allowed:g} allows.{moved} Nothing was changed. "
        "Check the address and whether the copy is complete; if the images are gone on purpose, "
        "set `max_vanished_share: 1` in the collection's YAML and materialize the catalog again."
    )


def known_rows(objects: Objects, before: Catalog) -> pa.Table:
    """The rows of all shards in order, with the schema `parquet.CATALOG`."""
    tables = [read_shard(objects, shard.at) for shard in before.shards]
    return pa.concat_tables([parquet.CATALOG.empty_table(), *tables])
