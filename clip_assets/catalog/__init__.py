"""The catalog: every image of a collection, divided once into append-only shards.

A shard never changes silently. If a file changes or disappears, its shard gets a new version with
a new digest; a missing image stays as a tombstone, so row numbers never change. New images go
into new shards and leave existing shards unchanged. An image that the listing shows to be unusable
also has a row, with its fault; the node makes it a reject.
"""

from clip_assets.catalog.changes import change, renew, scrub
from clip_assets.catalog.differences import Differences, compare
from clip_assets.catalog.head import Catalog, Shard, read, require
from clip_assets.catalog.listing import listing_digest
from clip_assets.catalog.rows import live_refs, read_shard, read_verified
from clip_assets.catalog.selection import require_selection, select
from clip_assets.catalog.update import refresh

__all__ = [
    "Catalog",
    "Differences",
    "Shard",
    "change",
    "compare",
    "listing_digest",
    "live_refs",
    "read",
    "read_shard",
    "read_verified",
    "refresh",
    "renew",
    "require",
    "require_selection",
    "scrub",
    "select",
]
