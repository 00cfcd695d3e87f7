"""Check the oldest shard: Dagster's freshness only considers an asset's newest event."""

import time
from datetime import timedelta

import dagster as dg

from clip_assets import catalog
from clip_assets.automation.conditions import check_condition
from clip_assets.automation.shard_ages import oldest_shards, seconds_since
from clip_assets.collection import Collection
from clip_assets.resources import Installation

_WARN_SHARE = 0.75


def oldest_shard_check(collection: Collection) -> dg.AssetChecksDefinition:
    overdue = timedelta(days=collection.verify_within_days).total_seconds()

    @dg.asset_check(
        asset=collection.embeddings_key,
        description="Every shard was embedded or verified within "
        f"{collection.verify_within_days} days; warns after {_WARN_SHARE:.0%} of that time.",
        automation_condition=check_condition(),
    )
    def oldest_shard(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        head = catalog.read(clip_assets_installation.objects(collection.name))
        keys = [shard.shard for shard in head.shards] if head else []
        if not keys:
            return dg.AssetCheckResult(passed=False, description="The catalog has no shards.")
        oldest, *_ = oldest_shards(context.instance, collection.embeddings_key, keys)
        age = seconds_since(context.instance, collection.embeddings_key, oldest, time.time())
        if age is None:
            return _never(oldest)
        return dg.AssetCheckResult(
            passed=age < overdue * _WARN_SHARE,
            severity=_severity(overdue=age >= overdue),
            description=f"Shard {oldest} was last verified {age / 86_400:.1f} days ago.",
            metadata={"shard": oldest, "days": round(age / 86_400, 2), "shards": len(keys)},
        )

    return oldest_shard


def _never(shard: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        severity=_severity(overdue=False),
        description=f"Shard {shard} has not been materialized in this Dagster instance.",
        metadata={"shard": shard},
    )


def _severity(*, overdue: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if overdue else dg.AssetCheckSeverity.WARN
