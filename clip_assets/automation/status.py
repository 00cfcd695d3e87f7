"""Whether a collection's sensors and schedules run without being turned on."""

import dagster as dg

from clip_assets.collection import Collection


def sensor_status(collection: Collection) -> dg.DefaultSensorStatus:
    """Running unless `automate:` is false; nothing is embedded before the first release."""
    return dg.DefaultSensorStatus.RUNNING if collection.automate else dg.DefaultSensorStatus.STOPPED


def schedule_status(collection: Collection) -> dg.DefaultScheduleStatus:
    """As for sensors."""
    if collection.automate:
        return dg.DefaultScheduleStatus.RUNNING
    return dg.DefaultScheduleStatus.STOPPED
