"""The rows of a shard version: reading them, and the digest that identifies them."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from clip_assets.catalog.head import Shard
from clip_assets.errors import StoreError
from clip_assets.source import ImageRef
from clip_assets.store import parquet, paths
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion


def read_shard(objects: Objects, at: ShardVersion) -> pa.Table:
    """The rows of one shard version, with the schema `parquet.CATALOG`."""
    path = paths.catalog_shard(at)
    rows = parquet.from_bytes(objects.get(path), objects.uri(path))
    for name in ("fault", "columns"):
        if name not in rows.column_names:  # written by an older version
            rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
    return rows


def read_verified(objects: Objects, shard: Shard) -> pa.Table:
    """The rows of a shard's current version, like `read_shard`.

    Raises StoreError if they are not the rows that the head names, or the file is missing.
    """
    where = objects.uri(paths.catalog_shard(shard.at))
    try:
        rows = read_shard(objects, shard.at)
    except FileNotFoundError as error:
        raise StoreError(f"{where} is missing.") from error
    if digest_of(rows) != shard.digest or len(rows) != shard.rows or count_live(rows) != shard.live:
        raise StoreError(f"{where} does not have the rows that were listed.")
    return rows


def live_refs(rows: pa.Table) -> list[ImageRef]:
    """The images of a shard that are not tombstones, in row order."""
    rows = rows.filter(pc.invert(rows.column("tombstone"))).drop_columns("tombstone")
    return [ImageRef(**row) for row in rows.to_pylist()]


def count_live(rows: pa.Table) -> int:
    """How many of the rows are not tombstones."""
    return sum(not gone for gone in rows.column("tombstone").to_pylist())


def digest_of(rows: pa.Table) -> str:
    """sha256 over the rows' values, independent of their layout in memory.

    A row without columns and fault has the same digest as before catalogs had these fields.
    """
    digest = hashlib.sha256()
    for batch in rows.to_batches(max_chunksize=10_000):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            *others, fault, columns = values
            known = (
                values if columns is not None else (*others, *([] if fault is None else [fault]))
            )
            digest.update(repr(known).encode())
    return digest.hexdigest()
