"""Faults that take minutes: `make test-faults`. Elsewhere nothing here is collected."""

import multiprocessing
import os
import secrets
from multiprocessing.context import ForkServerContext
from random import Random

import pytest

from tests.acceptance.conftest import workplace
from tests.integration.conftest import _few_queries
from tests.integration.photos import connection, database, embedded, photos, published

__all__ = [
    "_few_queries", "connection", "database", "embedded", "photos", "published", "workplace",
]  # fmt: skip

ASKED_FOR = "FAULTS" in os.environ

collect_ignore_glob = [] if ASKED_FOR else ["test_*.py"]


def pytest_report_header() -> list[str]:
    """Say why nothing runs when this folder is named on the command line."""
    return [] if ASKED_FOR else ["tests/faults: NOT RUN; use make test-faults"]


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes that start quickly: what a step of the pipeline needs is already imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.collection"])
    return context


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> Random:
    """Random numbers that the same `--seed` repeats; a failure prints the seed."""
    given = request.config.getoption("--seed")
    seed = secrets.randbelow(1 << 32) if given is None else given
    print(f"repeat with: make test-faults ARGS='--seed {seed}'")
    return Random(seed)
