"""The executor of the demo, which has no other assets than the sample's."""

import dagster as dg


@dg.definitions
def executor() -> dg.Definitions:
    """Steps run in the run's own process, because a job or Postgres does the heavy work.

    A process for each asset and check would spend three CPU-seconds on imports.
    """
    return dg.Definitions(executor=dg.in_process_executor)
