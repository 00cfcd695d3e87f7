"""`release`: the pointer that the service reads; it moves only past the blocking checks."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg

from clip_assets.automation.conditions import release_condition
from clip_assets.collection import Collection
from clip_assets.dagster_private import is_automated
from clip_assets.index import tables, thumbnails
from clip_assets.judge.comparison import Comparison
from clip_assets.release import release, retire
from clip_assets.resources import Installation
from clip_assets.search.search import Release
from clip_assets.settings import Settings
from clip_assets.status import is_live


def release_asset(of: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=of.release_key,
        deps=[of.search_index_key],
        description="What answers searches: moves in one transaction, rolls back in one.",
        kinds={"postgres"},
        code_version="1",
        output_required=False,
        freshness_policy=of.freshness_policy,
        automation_condition=release_condition(),
        group_name=of.collection,
        owners=[of.owner],
    )
    def build(
        context: dg.AssetExecutionContext, installation: Installation
    ) -> Iterator[dg.MaterializeResult[None]]:
        with installation.connect() as connection:
            if _is_decided_by_hand(context, connection, of):
                context.log.info("Another index is live: a switch is made by hand.")
                return
            index = tables.find(connection, of.collection, of.spec.slug, of.vector_type)
            live, moved = release.publish(connection, index, context.run_id)
            dropped = retire.drop_superseded(connection, of.collection, of.keep_indexes)
            if dropped:
                thumbnails.drop_unneeded(connection)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(f"{live.id}-{live.content[:12]}"),
            metadata=_metadata(live, moved=moved, dropped=dropped),
        )

    return build


def _is_decided_by_hand(
    context: dg.AssetExecutionContext, connection: psycopg.Connection, of: Collection
) -> bool:
    """Automation refreshes the model that is live, and never puts another in its place."""
    return is_automated(context.run) and not is_live(
        connection, of.collection, of.spec.slug, of.vector_type
    )


def _metadata(live: Release, *, moved: bool, dropped: list[str]) -> dict[str, Any]:
    page = Settings().search_url
    return {
        "dagster/row_count": live.rows,
        "release": live.id,
        "moved": moved,
        "model": live.identity.short,
        "vector_type": live.vector_type.value,
        "ef_search": live.ef_search,
        "published_at": dg.MetadataValue.timestamp(live.published_at),
        **({"search_page": dg.MetadataValue.url(page)} if page else {}),
        **({"dropped": dg.MetadataValue.json(dropped)} if dropped else {}),
        "side_by_side": dg.MetadataValue.md(_side_by_side(live)),
    }


def _side_by_side(live: Release) -> str:
    if live.report is None:
        return "Published by a version that made no report."
    return Comparison.model_validate(live.report).markdown
