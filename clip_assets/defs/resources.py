"""What every collection uses: its resources, and how the steps of a run are executed."""

import dagster as dg

from clip_assets.compute.local import LocalEmbedClient
from clip_assets.resources import Installation


@dg.definitions
def resources() -> dg.Definitions:
    """Steps run within the run's own process: the heavy work is done by a job or by Postgres.

    A process for every asset and check would cost three CPU-seconds of imports each.
    """
    return dg.Definitions(
        resources={"installation": Installation(), "compute": LocalEmbedClient()},
        executor=dg.in_process_executor,
    )
