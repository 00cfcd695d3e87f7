"""The code location: everything under `defs/`."""

from functools import cache
from pathlib import Path

import dagster as dg


@dg.definitions
@cache  # a run's process loads them twice, and each load takes seconds
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
