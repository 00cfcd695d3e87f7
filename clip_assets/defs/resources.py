"""The resources every collection uses."""

import dagster as dg

from clip_assets.compute.local import LocalEmbedClient
from clip_assets.resources import Installation


@dg.definitions
def resources() -> dg.Definitions:
    return dg.Definitions(resources={"installation": Installation(), "compute": LocalEmbedClient()})
