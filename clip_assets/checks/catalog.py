"""Checks of `catalog`."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import dagster as dg
import pyarrow.compute as pc

from clip_assets import catalog
from clip_assets.collection import Collection
from clip_assets.errors import DatabaseError
from clip_assets.postgres.connect import connect_reader_if_migrated
from clip_assets.resources import Installation
from clip_assets.source.joins import JoinReport
from clip_assets.status import left_behind, live_release


def catalog_checks(
    collection: Collection, defined: Callable[[], set[str]]
) -> Iterator[dg.AssetChecksDefinition]:
    """`defined` returns the slugs of all models of the collection in the code location."""

    @dg.asset_check(
        asset=collection.catalog_key,
        blocking=True,
        description="Image ids are unique, and each shard has as many rows as the catalog says.",
    )
    def ids_unique(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        objects = clip_assets_installation.objects(collection.name)
        head = catalog.read(objects)
        shards = head.shards if head else ()
        seen: set[str] = set()
        rows = repeated = short = 0
        for shard in shards:
            ids = pc.unique(catalog.read_shard(objects, shard.at).column("image_id")).to_pylist()
            short += len(ids) != shard.rows
            repeated += len(seen.intersection(ids))
            seen.update(ids)
            rows += shard.rows
        return dg.AssetCheckResult(
            passed=bool(shards) and not repeated and not short,
            metadata={"rows": rows, "repeated_ids": repeated, "shards_with_repeats": short},
        )

    yield ids_unique

    @dg.asset_check(
        asset=collection.catalog_key,
        description="Images have a row in the tables that captions and columns come from, and the "
        "values are of the columns' types.",
    )
    def columns_joined(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        head = catalog.read(clip_assets_installation.objects(collection.name))
        report = head.told if head else JoinReport()
        nothing = any(join.images and not join.matched for join in report.joins)
        return dg.AssetCheckResult(
            passed=not report.faults,
            severity=dg.AssetCheckSeverity.ERROR if nothing else dg.AssetCheckSeverity.WARN,
            description="; ".join(report.faults) or None,
            metadata={"found": dg.MetadataValue.json(report.sentences)},
        )

    yield columns_joined

    @dg.asset_check(
        asset=collection.catalog_key,
        description="A YAML file defines the model that answers searches, so new images are "
        "embedded for it.",
    )
    def live_model_is_defined(clip_assets_installation: Installation) -> dg.AssetCheckResult:
        settings = clip_assets_installation.settings
        try:
            with connect_reader_if_migrated(settings) or nullcontext() as connection:
                live = live_release(connection, collection.name) if connection else None
        except DatabaseError as error:  # listing images needs no database
            return _warned(f"The live release could not be read: {error}")
        behind = left_behind(live, collection.name, defined())
        return _warned(behind) if behind else dg.AssetCheckResult(passed=True)

    yield live_model_is_defined


def _warned(text: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=text)
