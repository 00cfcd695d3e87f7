"""Shared by all collections: the resources and the executor."""

import dagster as dg

from clip_assets.compute.local import LocalEmbedClient
from clip_assets.resources import Installation


@dg.definitions
def resources() -> dg.Definitions:
    """Steps run in the run's own process, because a job or Postgres does the heavy work.

    A process for each asset and check would spend three CPU-seconds on imports.
    """
    return dg.Definitions(
        resources={"installation": Installation(), "compute": LocalEmbedClient()},
        executor=dg.in_process_executor,
    )
