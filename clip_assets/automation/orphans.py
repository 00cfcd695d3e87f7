"""Sensor that cancels orphaned SkyPilot jobs: those that no run waits for."""

from datetime import timedelta

import dagster as dg

from clip_assets.automation.status import sensor_status
from clip_assets.collection import Collection
from clip_assets.compute.skypilot.client import work_of
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.dagster_skypilot import build_skypilot_orphans_sensor


def orphans_sensor(collection: Collection, sky: SkyPilotConfig) -> dg.SensorDefinition:
    """Cancel SkyPilot jobs of this collection that no run waits for."""
    return build_skypilot_orphans_sensor(
        name=f"{collection.name_with_model}_orphans",
        work=work_of(collection.name),
        older_than=timedelta(minutes=sky.orphan_minutes),
        asset_selection=dg.AssetSelection.assets(collection.embeddings_key),
        default_status=sensor_status(collection),
    )
