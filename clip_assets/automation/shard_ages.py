"""How long ago each shard was embedded or verified, according to Dagster's event log.

Dagster judges freshness by an asset's newest event, so one refreshed shard makes all look fresh.
"""

from collections.abc import Sequence

import dagster as dg
from dagster import AssetRecordsFilter

from clip_assets.dagster_private import newest_materializations


def oldest_shards(
    instance: dg.DagsterInstance, embeddings: dg.AssetKey, shards: Sequence[str]
) -> list[str]:
    """The shards, least recently materialized first; those never materialized lead."""
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
