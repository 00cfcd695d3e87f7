"""Sensors: what happens in the source that nobody tells Dagster of."""

from collections.abc import Iterator

import dagster as dg

from clip_assets import catalog
from clip_assets.collection import Collection
from clip_assets.resources import Installation
from clip_assets.source.open import open_source


def new_images_sensor(of: Collection) -> dg.SensorDefinition:
    """Refresh the catalog when the source lists other images than it holds."""
    source = of.require_source()

    @dg.sensor(
        name=f"{of.collection}_new_images",
        target=dg.AssetSelection.assets(of.catalog_key),
        minimum_interval_seconds=300,
        description="Lists the source; added, changed or vanished images refresh the catalog.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def new_images(installation: Installation) -> Iterator[dg.RunRequest | dg.SkipReason]:
        head = catalog.read(installation.objects(of.collection))
        listing = catalog.listing_digest(open_source(source).list())
        if head is None:
            yield dg.SkipReason("The catalog was never materialized; the first time is by hand.")
        elif head.listing == listing:
            yield dg.SkipReason("The source lists the same images.")
        else:
            yield dg.RunRequest(run_key=listing)

    return new_images
