"""Choosing shards by a text such as `0..9,12`."""

from clip_assets.catalog.head import Catalog
from clip_assets.errors import StoreError


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
