"""`release`: the pointer that the service reads; it moves only if the blocking checks pass."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dagster as dg
import psycopg

from clip_assets.assets.failures import as_dagster_failure
from clip_assets.assets.live import live_event, version_of
from clip_assets.automation.conditions import release_condition
from clip_assets.collection import Collection
from clip_assets.dagster_private import is_automated
from clip_assets.errors import ReleaseError
from clip_assets.judge.comparison import Comparison
from clip_assets.release.release import restore_relations
from clip_assets.release.update import publish_and_retire
from clip_assets.resources import Installation
from clip_assets.search.search import Release
from clip_assets.status import is_live


def release_asset(collection: Collection) -> dg.AssetsDefinition:
    @dg.asset(
        key=collection.release_key,
        deps=[collection.search_index_key],
        description=f"Makes the index by {collection.spec.title} the one that answers searches, if "
        "it passed its checks. `clip-assets rollback` returns to the previous one.",
        config_schema={},  # a run config would be ignored, so it is refused
        kinds={"postgres"},
        output_required=False,
        automation_condition=release_condition(),
    )
    def build(
        context: dg.AssetExecutionContext, clip_assets_installation: Installation
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        with as_dagster_failure(), clip_assets_installation.connect() as connection:
            if _is_decided_by_hand(context, connection, collection):
                _restore_relations(connection, collection)
                context.log.info("Another index is live. Materialize `release` to switch.")
                return
            done = publish_and_retire(
                connection,
                clip_assets_installation.objects(collection.name),
                collection.release_spec,
                context.run.run_id,
            )
        live = done.release
        yield from live_event(context.instance, live)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(version_of(live)),
            metadata=_metadata(
                live,
                clip_assets_installation.settings.search_url,
                moved=done.moved,
                dropped=done.dropped,
            ),
        )

    return build


def _is_decided_by_hand(
    context: dg.AssetExecutionContext, connection: psycopg.Connection, collection: Collection
) -> bool:
    """Automation refreshes the live model and never replaces it with another."""
    return is_automated(context.run) and not is_live(connection, *collection.index_key)


def _restore_relations(connection: psycopg.Connection, collection: Collection) -> None:
    with suppress(ReleaseError):  # nothing is live yet, or a long query holds a lock
        restore_relations(connection, collection.name)


def _metadata(
    live: Release, page: str | None, *, moved: bool, dropped: list[str]
) -> dict[str, Any]:
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
    if live.comparison is None:
        return "Published by a version that did not compare releases."
    return Comparison.model_validate(live.comparison).markdown
