"""How long ago each shard was made or looked at, as Dagster's event log has it.

An asset's freshness is that of its newest event: one refreshed shard makes all look fresh.
"""

from collections.abc import Sequence

import dagster as dg
from dagster import AssetRecordsFilter

from clip_assets.dagster_private import newest_materializations


def oldest_shards(
    instance: dg.DagsterInstance, embeddings: dg.AssetKey, shards: Sequence[str]
) -> list[str]:
    """The shards, those first that were longest not materialized; never counts as longest."""
    events = newest_materializations(instance, embeddings)
    return sorted(shards, key=lambda shard: (events.get(shard, 0), shard))


def seconds_since(
    instance: dg.DagsterInstance, embeddings: dg.AssetKey, shard: str, now: float
) -> float | None:
    """Seconds from the shard's newest materialization to `now`; None if there is none."""
    event = newest_materializations(instance, embeddings, {shard}).get(shard)
    if event is None:
        return None
    chosen = AssetRecordsFilter(embeddings, storage_ids=[event])
    (record,) = instance.fetch_materializations(chosen, limit=1).records
    return now - record.timestamp
