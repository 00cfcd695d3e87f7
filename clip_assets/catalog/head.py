"""The head of the catalog: reading it, and replacing it without losing another writer's change."""

from collections.abc import Callable, Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from clip_assets.column import Column, Columns
from clip_assets.errors import StoreError
from clip_assets.source import SourceConfig
from clip_assets.source.joins import JoinReport
from clip_assets.store import paths
from clip_assets.store.objects import Objects
from clip_assets.store.paths import ShardVersion

_TRIES = 10


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
    told: JoinReport = JoinReport()
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


def require(objects: Objects, collection: str) -> Catalog:
    """The head. Raises StoreError if the collection has no catalog yet."""
    head = read(objects)
    if head is None:
        raise no_catalog(objects, collection)
    return head


def no_catalog(objects: Objects, collection: str) -> StoreError:
    """The error for a collection whose catalog was never written."""
    return StoreError(
        f"{collection} has no catalog yet: there is no {objects.uri(paths.CATALOG)}. "
        "Materialize `catalog` first, or without Dagster run clip_assets.node.catalog."
    )


def replace_head(objects: Objects, changed: Callable[[Catalog | None], Catalog]) -> Catalog:
    """Replace the head, unless another process changed it since it was read; then try again.

    `changed` gets the current head, or None if there is none, and may be called several times.
    Raises StoreError after 10 attempts.
    """
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
