"""Runs and embedding jobs of Dagster start at once: a project of the tests imports this.

Otherwise each is a Python of its own, which imports for three CPU-seconds, with torch for six.
Runs fork from a process of the code server's, jobs from the tests' own (see `forking`).
"""

import multiprocessing
import os
import subprocess
from multiprocessing import context
from types import SimpleNamespace

from clip_assets.compute import local
from tests.acceptance import forking

multiprocessing.set_forkserver_preload(
    [
        "tests.dagster_private",
        "clip_assets.component.image_collection",
        "clip_assets.runs.launcher",
        "dagster_postgres",
        "matplotlib.figure",
    ]
)
context.SpawnProcess._Popen = staticmethod(context.ForkServerProcess._Popen)
if forking.ADDRESS in os.environ:
    local.subprocess = SimpleNamespace(
        Popen=forking.Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )
