"""The executor of the demo, which has no other assets than the sample's."""

import dagster as dg


@dg.definitions
def executor() -> dg.Definitions:
    """Steps run in the run's own process, because a job or Postgres does the heavy work.

    With a process for each asset and check, each would spend three CPU-seconds on imports.
    """
    return dg.Definitions(executor=dg.in_process_executor)
