"""A check of `live` that verifies the whole collection, from the source to the live release."""

from contextlib import nullcontext

import dagster as dg

from clip_assets import catalog
from clip_assets.assets.live import live_key
from clip_assets.collection import Collection
from clip_assets.postgres.connect import connect_reader_if_migrated
from clip_assets.resources import Installation
from clip_assets.verify.verify import verify

NAME = "whole"
_TOLD = 20


def whole_check(collection: Collection) -> dg.AssetChecksDefinition:
    """A check of `live`, which no run materializes, so the check runs only on request."""

    @dg.asset_check(
        asset=live_key(collection.name),
        name=NAME,
        description="Source, catalog, files of every model, indexes and live release agree: the "
        "same as `clip-assets verify --sample 0`, which reads every file and row once.",
    )
    def whole(
        context: dg.AssetCheckExecutionContext, clip_assets_installation: Installation
    ) -> dg.AssetCheckResult:
        objects = clip_assets_installation.objects(collection.name)
        head = catalog.require(objects, collection.name)
        settings = clip_assets_installation.settings
        with connect_reader_if_migrated(settings) or nullcontext() as connection:
            found = verify(objects, head, connection, lambda *_: None)
        for fault in found.faults:
            context.log.error(str(fault))
        return dg.AssetCheckResult(
            passed=not found.faults,
            description="; ".join(str(fault) for fault in found.faults[:_TOLD])
            or "Nothing is lost or damaged.",
            metadata={
                "faults": len(found.faults),
                "behind": dg.MetadataValue.json(list(found.behind)),
                **{name.replace(" ", "_"): count for name, count in found.figures.items()},
            },
        )

    return whole
