"""The catalog: every image of a collection, divided once into append-only shards.

A shard never changes silently. If a file changes or disappears, its shard gets a new version with
a new digest; a missing image stays as a tombstone, so row numbers never change. New images go
into new shards and leave existing shards unchanged. An image that the listing shows to be unusable
also has a row, with its fault; the node makes it a reject.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.column import Column, Columns
from clip_assets.errors import SourceError, StoreError
from clip_assets.processors import available
from clip_assets.source import ImageRef, SourceConfig
from clip_assets.source.described import Told
from clip_assets.store import parquet, paths
from clip_assets.store.erased import erased
from clip_assets.store.identity import data_id
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

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
# An image below a folder or in a tar that cannot be read at present is not gone.
_UNSEEN = """EXISTS (
    FROM listing AS below WHERE below.fault IS NOT NULL AND below.image_id LIKE '%/'
    AND starts_with(k.image_id, below.image_id)
)"""
_TRIES = 10
_Versions = dict[str, ShardVersion]
"""The newest version ever written of each shard, by shard key; digests are abbreviated."""
_LISTED = pa.schema([field for field in parquet.CATALOG if field.name != "tombstone"])


class Shard(BaseModel):
    """The current version of one shard; `live` counts the rows that are not tombstones.

    `renewed` is true if the version is to be embedded from scratch: no row is carried over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard: str
    version: int
    digest: str
    rows: int
    live: int
    renewed: bool = False

    @property
    def at(self) -> ShardVersion:
        return ShardVersion(self.shard, self.version, self.digest)


class Catalog(BaseModel):
    """The head of the catalog: the current version of each shard, and a digest of the listing.

    It includes the source, so that a node needs only the data URI to read the images. `skipped`
    counts the files that were deliberately not listed, by kind. `columns` are the declared columns,
    and `told` reports what was found for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    collection: str
    source: SourceConfig
    listing: str = ""
    skipped: dict[str, int] = {}
    columns: dict[str, Column] = {}
    told: Told = Told()
    shards: tuple[Shard, ...] = ()

    @property
    def column_types(self) -> Columns:
        """The types of the declared columns."""
        return {name: column.type for name, column in self.columns.items()}

    @property
    def images(self) -> int:
        return sum(shard.live for shard in self.shards)

    def pick(self, keys: Iterable[str]) -> list[Shard]:
        """The shards with these keys. Raises StoreError for an unknown key."""
        by_key = {shard.shard: shard for shard in self.shards}
        try:
            return [by_key[key] for key in keys]
        except KeyError as error:
            raise StoreError(
                f"{self.collection} has no shard {error.args[0]}; it has {len(self.shards)}, "
                "numbered from 00000. Materialize the catalog, then choose from its partitions."
            ) from None


def read(objects: Objects) -> Catalog | None:
    """The head, or None if there is no catalog yet. Raises StoreError if it is damaged."""
    data = _head(objects)
    return None if data is None else _parsed(objects, data)


def _head(objects: Objects) -> bytes | None:
    try:
        return objects.get(paths.CATALOG)
    except FileNotFoundError:
        return None


def _parsed(objects: Objects, data: bytes) -> Catalog:
    try:
        return Catalog.model_validate_json(data)
    except ValidationError as error:
        raise StoreError(
            f"{objects.uri(paths.CATALOG)} is not a catalog that this version can read: "
            f"{error.error_count()} fields differ. Restore it from a copy of the data; or remove "
            "it, then list the images again with `clip-assets backfill`."
        ) from error


def require(objects: Objects, collection: str) -> Catalog:
    """The head. Raises StoreError if the collection has no catalog yet."""
    head = read(objects)
    if head is None:
        raise _no_catalog(objects, collection)
    return head


def _no_catalog(objects: Objects, collection: str) -> StoreError:
    return StoreError(
        f"{collection} has no catalog yet: there is no {objects.uri(paths.CATALOG)}. "
        "Materialize `catalog` first, or without Dagster run clip_assets.node.catalog."
    )


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
    if _digest(rows) != shard.digest or len(rows) != shard.rows or _live(rows) != shard.live:
        raise StoreError(f"{where} does not have the rows that were listed.")
    return rows


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
    found = _table(listed)
    if _digest(found) == head.listing:
        return Differences(len(found))
    counts = _query(
        f"""
        SELECT count(*) FILTER (l.image_id IS NOT NULL AND coalesce(k.tombstone, true)) AS new,
               count(*) FILTER (NOT k.tombstone AND k.etag <> l.etag) AS changed,
               count(*) FILTER (l.image_id IS NULL AND NOT k.tombstone AND NOT {_UNSEEN}) AS gone
        FROM known AS k FULL JOIN listing AS l USING (image_id)
        """,
        known=_known(objects, head),
        listing=_without(found, erased(objects).image_ids),
    )
    return Differences(len(found), **counts.to_pylist()[0])


def refresh(  # noqa: PLR0913 - the last ones are options
    objects: Objects,
    collection: str,
    source: SourceConfig,
    listed: Iterable[ImageRef],
    shard_size: int,
    *,
    skipped: Mapping[str, int] | None = None,
    columns: Mapping[str, Column] | None = None,
    told: Callable[[], Told] = Told,
    max_vanished_share: float = 1,
) -> Catalog:
    """Update the catalog to match the listing and write it; returns the new head.

    Memory holds the listing and the previous rows as Arrow columns, not as Python objects.
    `skipped` and `told` are read after `listed`. If the declared columns change, every shard gets a
    new version. Raises SourceError, and changes nothing, if more than `max_vanished_share` of the
    images that were listed before are no longer listed.
    """
    found = _table(listed)

    def listed_now(before: Catalog | None) -> Catalog:
        known = before or Catalog(collection=collection, source=source)
        changes = {
            "collection": collection,
            "source": source,
            "listing": _digest(found),
            "skipped": dict(skipped or {}),
            "columns": dict(columns or {}),
            "told": told(),
        }
        wanted = known.model_copy(update=changes)
        shards = _relisted(objects, known, wanted, found, shard_size, max_vanished_share)
        return wanted.model_copy(update={"shards": shards})

    head = _change(objects, listed_now)
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
    listing = _numbered(_without(found, erased(objects).image_ids))
    known = _numbered(_known(objects, before))
    _refuse_vanished(known, listing, before, wanted.source, max_vanished_share)
    same = [*before.columns.items()] == [*wanted.columns.items()]
    given = _versions(objects)
    kept = [
        _kept(objects, shard, rows, given)
        for shard, rows in _updated(before, known, listing, renewed=not same)
    ]
    fresh = _query(
        "SELECT * EXCLUDE (n) FROM listing WHERE NOT EXISTS "
        "(FROM known WHERE known.image_id = listing.image_id) ORDER BY n",
        known=known,
        listing=listing,
    )
    start = len(before.shards)
    new = [
        _write(objects, f"{start + number:05d}", 1, rows, given)
        for number, rows in enumerate(_cut(fresh, shard_size))
    ]
    return (*kept, *new)


def scrub(objects: Objects, head: Catalog, gone: Collection[str]) -> dict[str, Shard]:
    """Turn these images into bare tombstones: no URI, no caption, no trace of the file.

    Returns the new version of each affected shard, by shard key. The caller updates the head, so
    that it can rewrite the embeddings before readers look for them.
    """
    names = pa.table({"image_id": pa.array(sorted(gone), pa.string())})
    found, given = {}, _versions(objects)
    for shard in head.shards:
        rows = read_shard(objects, shard.at)
        if pc.any(pc.is_in(rows.column("image_id"), names.column("image_id"))).as_py():
            bare = _query(_SCRUBBED, known=_numbered(rows), gone=names).cast(parquet.CATALOG)
            same = _digest(bare) == shard.digest
            found[shard.shard] = _kept(objects, shard, None if same else bare, given)
    return found


def change(
    objects: Objects, collection: str, shards: Callable[[Catalog], Mapping[str, Shard]]
) -> Catalog:
    """Make these the current versions of their shards; returns the new head.

    `shards` gets the head. It is called again if another process has changed the head meanwhile.
    """

    def changed(head: Catalog | None) -> Catalog:
        if head is None:
            raise _no_catalog(objects, collection)
        new = shards(head)
        kept = tuple(new.get(shard.shard, shard) for shard in head.shards)
        return head.model_copy(update={"shards": kept})

    return _change(objects, changed)


def renew(objects: Objects, collection: str, keys: Collection[str]) -> Catalog:
    """A new version of each of these shards with the same images, so that they are embedded again.

    Their current embeddings stay until the new ones are committed. All models of the collection
    share the version. Writes the new head and returns it.
    """

    def renewed(head: Catalog) -> Mapping[str, Shard]:
        given = _versions(objects)
        return {
            shard.shard: _kept(objects, shard, read_shard(objects, shard.at), given).model_copy(
                update={"renewed": True}
            )
            for shard in head.pick(keys)
        }

    return change(objects, collection, renewed)


def _change(objects: Objects, changed: Callable[[Catalog | None], Catalog]) -> Catalog:
    """Replace the head, unless another process changed it since it was read; then try again."""
    for _ in range(_TRIES):
        data = _head(objects)
        try:
            head = changed(None if data is None else _parsed(objects, data))
        except FileNotFoundError:  # the rows of a version that an erasure has replaced
            if data == _head(objects):
                raise
            continue
        if objects.replace(paths.CATALOG, data, head.model_dump_json(indent=1).encode()):
            return head
    raise StoreError(
        f"{objects.uri(paths.CATALOG)} was changed by other processes during each of {_TRIES} "
        "attempts. Run again when fewer of them work on this collection."
    )


def live_refs(rows: pa.Table) -> list[ImageRef]:
    """The images of a shard that are not tombstones, in row order."""
    rows = rows.filter(pc.invert(rows.column("tombstone"))).drop_columns("tombstone")
    return [ImageRef(**row) for row in rows.to_pylist()]


def listing_digest(listed: Iterable[ImageRef]) -> str:
    """Digest that changes if any image is added, changed or removed; the sensor compares it."""
    return _digest(_table(listed))


def _table(listed: Iterable[ImageRef]) -> pa.Table:
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


def _unique(listing: pa.Table) -> pa.Table:
    """The listing, with a new id and a fault for each image whose id occurred before."""
    if len(pc.unique(listing.column("image_id"))) == len(listing):
        return listing
    named = _query(
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
        listing=_numbered(listing),
    )
    # The new id may be another image's name.
    return _unique(named.select(_LISTED.names).cast(_LISTED))


def _refuse_vanished(
    known: pa.Table, listing: pa.Table, before: Catalog, source: SourceConfig, allowed: float
) -> None:
    gone, live = (
        _query(
            f"""
        SELECT count(*) FILTER (WHERE l.image_id IS NULL AND NOT {_UNSEEN}), count(*)
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


def _without(listing: pa.Table, gone: Collection[str]) -> pa.Table:
    names = pa.array(sorted(gone), pa.string())
    return listing.filter(pc.invert(pc.is_in(listing.column("image_id"), names)))


def _numbered(rows: pa.Table) -> pa.Table:
    """Add the row number as a column, because SQL does not preserve the order."""
    return rows.append_column("n", pa.array(np.arange(len(rows))))


def _known(objects: Objects, before: Catalog) -> pa.Table:
    tables = [read_shard(objects, shard.at) for shard in before.shards]
    return pa.concat_tables([parquet.CATALOG.empty_table(), *tables])


def _updated(
    before: Catalog, known: pa.Table, listing: pa.Table, *, renewed: bool
) -> Iterator[tuple[Shard, pa.Table | None]]:
    """Each shard with its new rows, or with None if nothing changed; with `renewed`, never None."""
    now = _query(
        f"""
        SELECT k.image_id,
               coalesce(l.uri, k.uri) AS uri,
               CASE WHEN l.image_id IS NULL THEN k.offset ELSE l.offset END AS offset,
               CASE WHEN l.image_id IS NULL THEN k.size ELSE l.size END AS size,
               CASE WHEN l.image_id IS NULL THEN k.row ELSE l.row END AS row,
               CASE WHEN l.image_id IS NULL THEN k.caption ELSE l.caption END AS caption,
               coalesce(l.etag, k.etag) AS etag,
               CASE WHEN l.image_id IS NULL AND {_UNSEEN} THEN k.tombstone
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
        yield shard, None if not renewed and _digest(rows) == shard.digest else rows


def _query(sql: str, **tables: pa.Table) -> pa.Table:
    import duckdb  # takes 0.1 s, which commands that only read the catalog need not spend

    with duckdb.connect(config={"threads": available()}) as database:
        for name, table in tables.items():
            database.register(name, table)
        relation = database.sql(sql)
        assert relation is not None, "a SELECT has a result"
        return relation.to_arrow_table()


def _kept(objects: Objects, shard: Shard, rows: pa.Table | None, given: _Versions) -> Shard:
    if rows is None:
        return shard
    return _write(objects, shard.shard, shard.version + 1, rows, given)


def _cut(rows: pa.Table, shard_size: int) -> Iterator[pa.Table]:
    live = rows.add_column(
        rows.column_names.index("fault"),
        parquet.CATALOG.field("tombstone"),
        pa.array([False] * len(rows), pa.bool_()),
    )
    for start in range(0, len(live), shard_size):
        yield live.slice(start, shard_size).cast(parquet.CATALOG)


def _versions(objects: Objects) -> _Versions:
    found: _Versions = {}
    for entry in objects.list(paths.CATALOG_FOLDER):
        if version := paths.catalog_version(entry.path):
            found[version.shard] = max(found.get(version.shard, version), version)
    return found


def _write(objects: Objects, shard: str, version: int, rows: pa.Table, given: _Versions) -> Shard:
    """Write at least this version of the shard.

    After the head was lost or restored from an older copy, newer versions may exist. The newest is
    reused with its embeddings if its rows are the same; otherwise the new version gets the next
    number, so that numbers stay unique.
    """
    digest, newest = _digest(rows), given.get(shard)
    if newest and newest.version >= version:
        version = newest.version + (not digest.startswith(newest.digest))
    made = Shard(shard=shard, version=version, digest=digest, rows=len(rows), live=_live(rows))
    objects.put(paths.catalog_shard(made.at), parquet.to_bytes(rows))
    return made


def _live(rows: pa.Table) -> int:
    return sum(not gone for gone in rows.column("tombstone").to_pylist())


def _digest(rows: pa.Table) -> str:
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


def select(head: Catalog, shards: str) -> list[str]:
    """Shard keys selected by `all`, `7` or `0..9` (both ends included), separated by commas.

    Raises StoreError for a key that the catalog does not have.
    """
    if shards == "all":
        return [shard.shard for shard in head.shards]
    numbers = [number for item in shards.split(",") for number in _numbers(item)]
    return [shard.shard for shard in head.pick(f"{number:05d}" for number in numbers)]


def require_selection(shards: str) -> None:
    """Raises StoreError unless this is a valid selection, whichever shards exist."""
    if shards not in ("all", "missing"):
        for item in shards.split(","):
            _numbers(item)


def _numbers(item: str) -> range:
    first, _, last = item.partition("..")
    if not first.isdigit() or not (last or first).isdigit():
        raise StoreError(f"`{item}` is not a selection of shards. Use all, 7, 0..9 or 0..9,12.")
    return range(int(first), int(last or first) + 1)
