"""Checks of `release`: readers see the released index."""

from collections.abc import Iterator

import dagster as dg
from psycopg.rows import scalar_row

from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.search import search


def release_checks(collection: Collection) -> Iterator[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=collection.release_key,
        description="Searching for an image of the live release returns that image first.",
    )
    def answers(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        with clip_assets_installation.connect_reader() as connection:
            live = search.live(connection, collection.name)
            names = connection.cursor(row_factory=scalar_row)
            names.execute(
                f"SELECT image_id FROM {collection.name}.images ORDER BY shard, row LIMIT 1"
            )
            name: str | None = names.fetchone()
            vector = search.vector_of(connection, live, name) if name else None
            hits = () if vector is None else search.search(connection, live, vector, 10).hits
        return dg.AssetCheckResult(
            passed=bool(name) and bool(hits) and hits[0].score > 0.999,
            metadata={"release": live.id, "hits": len(hits), "model": live.identity.short},
        )

    yield answers
