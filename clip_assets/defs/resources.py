"""What every collection shares: the resources, and the executor of runs."""

import dagster as dg

from clip_assets.compute.local import LocalEmbedClient
from clip_assets.resources import Installation


@dg.definitions
def resources() -> dg.Definitions:
    """Steps run in the run's own process, because a job or Postgres does the heavy work.

    A process per asset and check would cost three CPU-seconds of imports each.
    """
    return dg.Definitions(
        resources={"installation": Installation(), "compute": LocalEmbedClient()},
        executor=dg.in_process_executor,
    )
