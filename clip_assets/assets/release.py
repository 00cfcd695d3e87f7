"""`release`: the pointer that the service reads; it moves only past the blocking checks."""

import dagster as dg

from clip_assets.collection import Collection
from clip_assets.index import release, tables
from clip_assets.resources import Installation


def release_asset(of: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=of.release_key,
        deps=[of.search_index_key],
        description="What answers searches: moves in one transaction, rolls back in one.",
        kinds={"postgres"},
        code_version="1",
        freshness_policy=of.freshness_policy,
        group_name=of.collection,
        owners=[of.owner],
    )
    def build(
        context: dg.AssetExecutionContext, installation: Installation
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with installation.connect() as connection:
            index = tables.find(connection, of.collection, of.spec.slug)
            live, moved = release.publish(connection, index, context.run_id)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{live.id}-{live.content[:12]}"),
            metadata={
                "dagster/row_count": live.rows,
                "release": live.id,
                "moved": moved,
                "model": live.identity.short,
                "ef_search": live.ef_search,
                "published_at": dg.MetadataValue.timestamp(live.published_at),
            },
        )

    return build
