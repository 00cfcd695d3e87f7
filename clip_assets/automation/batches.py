"""Batches of consecutive shards, because a Dagster run takes one range of partitions."""

from collections.abc import Iterable, Iterator

from clip_assets.dagster_private import partition_range_tags


def batches(shards: Iterable[str], most: int) -> Iterator[list[str]]:
    """Split ordered shard keys at every gap, and after `most` keys."""
    batch: list[str] = []
    for shard in shards:
        gap = batch and int(shard) != int(batch[-1]) + 1
        if gap or len(batch) == most:
            yield batch
            batch = []
        batch.append(shard)
    if batch:
        yield batch


def range_tags(batch: list[str]) -> dict[str, str]:
    """The tags that make a run materialize these consecutive shards."""
    return partition_range_tags(batch[0], batch[-1])
