"""`live`: the release that answers searches, of whichever model; the asset to depend on.

No run materializes it: whatever moves the live pointer reports a materialization. So its key, like
the SQL names, stays the same when the model changes, and assets downstream follow a switch and a
rollback.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from clip_assets.collection import Collection
from clip_assets.search.search import Release


def live_key(collection: str) -> dg.AssetKey:
    return dg.AssetKey([collection, "live"])


def live_spec(collection: Collection, releases: Iterable[dg.AssetKey]) -> dg.AssetSpec:
    """The asset; `releases` are the release assets of all defined models of the collection."""
    return dg.AssetSpec(
        live_key(collection.name),
        deps=[*releases],
        description=f"What answers searches in `{collection.name}`: the live release, of whichever "
        "model. Make your own assets depend on this one: its key stays the same when the model "
        "changes. Each release and rollback updates it.",
        kinds={"postgres"},
        metadata={"dagster/table_name": f"{collection.name}.images"},
    )


def version_of(live: Release) -> str:
    """Changes whenever the answers to searches may change."""
    return f"{live.id}-{live.content[:12]}"


def live_event(instance: dg.DagsterInstance, live: Release) -> Iterator[dg.AssetMaterialization]:
    """A materialization of `live`, unless its newest one is of this release and content."""
    key = live_key(live.collection)
    newest = instance.get_latest_materialization_event(key)
    before = newest.asset_materialization if newest else None
    version = version_of(live)
    if before and before.metadata.get("version") == dg.MetadataValue.text(version):
        return
    yield dg.AssetMaterialization(
        key,
        description=f"Release {live.id} by {live.identity.short} answers searches.",
        metadata={
            "version": version,
            "dagster/row_count": live.rows,
            "release": live.id,
            "model": live.identity.short,
            "vector_type": live.vector_type.value,
            "published_at": dg.MetadataValue.timestamp(live.published_at),
        },
        tags={"dagster/data_version": version},
    )


def report_live(instance: dg.DagsterInstance, live: Release) -> None:
    """Record the event outside of any run."""
    for event in live_event(instance, live):
        instance.report_runless_asset_event(event)
