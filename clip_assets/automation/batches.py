"""Runs of shards: neighbours only, since one Dagster run takes one range of partitions."""

from collections.abc import Iterable, Iterator

from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)


def batches(shards: Iterable[str], most: int) -> Iterator[list[str]]:
    """Cut shard keys, in order, at every gap and after `most` of them."""
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
    """The tags that make a run materialize these neighbours."""
    return {ASSET_PARTITION_RANGE_START_TAG: batch[0], ASSET_PARTITION_RANGE_END_TAG: batch[-1]}
