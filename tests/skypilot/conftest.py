"""SkyPilot itself, on the Slurm that `make test-sky` brings up; elsewhere nothing is collected."""

import os

INSIDE = "TEST_CLUSTER" in os.environ

collect_ignore_glob = [] if INSIDE else ["test_*.py"]


def pytest_report_header() -> list[str]:
    """Says why there is nothing to run when this folder is asked for by name."""
    return [] if INSIDE else ["tests/skypilot: NOT RUN outside the test cluster; use make test-sky"]
