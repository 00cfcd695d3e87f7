"""What a source lists, as an Arrow table with one row for each image."""

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clip_assets.catalog.query import numbered, query
from clip_assets.catalog.rows import digest_of
from clip_assets.source import ImageRef
from clip_assets.store import parquet

_LISTED = pa.schema([field for field in parquet.CATALOG if field.name != "tombstone"])


def listing_digest(listed: Iterable[ImageRef]) -> str:
    """Digest that changes if any image is added, changed or removed; the sensor compares it."""
    return digest_of(listing_table(listed))


def listing_table(listed: Iterable[ImageRef]) -> pa.Table:
    """One row for each image, as in `parquet.CATALOG` but without `tombstone`; ids are unique."""
    columns = _LISTED.names
    rows: dict[str, list[Any]] = {name: [] for name in columns}
    batches: list[pa.RecordBatch] = []
    for ref in listed:
        for name in columns:
            rows[name].append(getattr(ref, name))
        if len(rows["image_id"]) == 100_000:
            batches.append(pa.record_batch(rows, schema=_LISTED))
            rows = {name: [] for name in columns}
    batches.append(pa.record_batch(rows, schema=_LISTED))
    return _unique(pa.Table.from_batches(batches, _LISTED))


def without(listing: pa.Table, gone: Collection[str]) -> pa.Table:
    """The listing without the images whose ids are in `gone`."""
    names = pa.array(sorted(gone), pa.string())
    return listing.filter(pc.invert(pc.is_in(listing.column("image_id"), names)))


def _unique(listing: pa.Table) -> pa.Table:
    """The listing, with a new id and a fault for each image whose id occurred before."""
    if len(pc.unique(listing.column("image_id"))) == len(listing):
        return listing
    named = query(
        """
        WITH counted AS (
            SELECT *, row_number() OVER same AS nth, first_value(uri) OVER same AS first_uri
            FROM listing
            WINDOW same AS (PARTITION BY image_id ORDER BY fault IS NOT NULL, n)
        )
        SELECT CASE WHEN nth = 1 THEN image_id ELSE image_id || '#' || nth END AS image_id,
               * EXCLUDE (image_id, fault, n, nth, first_uri),
               CASE WHEN nth = 1 THEN fault ELSE coalesce(
                   fault, 'another image has the same id, ' || first_uri || '; rename one of them'
               ) END AS fault
        FROM counted ORDER BY n
        """,
        listing=numbered(listing),
    )
    # The new id may be another image's name.
    return _unique(named.select(_LISTED.names).cast(_LISTED))
