"""The check of `report`: warns about drifted shards and blocks nothing."""

from collections.abc import Iterator

import dagster as dg

from clip_assets.assets.report import drift_of
from clip_assets.collection import Collection
from clip_assets.resources import Installation


def report_checks(collection: Collection) -> Iterator[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=collection.report_key,
        description="No shard is unusually far from earlier shards.",
    )
    def no_shard_drifted(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        shards = drift_of(clip_assets_installation.objects(collection.name), collection.spec.slug)
        drifted = [shard.shard for shard in shards if shard.drifted]
        return dg.AssetCheckResult(
            passed=not drifted,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Differ from earlier shards: {', '.join(drifted)}." if drifted else None,
            metadata={"shards": len(shards), "drifted": dg.MetadataValue.json(drifted)},
        )

    yield no_shard_drifted
