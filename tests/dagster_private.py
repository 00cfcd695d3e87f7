"""What the tests use of Dagster's internals: the clock of its event log, which is private."""

from dagster._core.test_utils import freeze_time

__all__ = ["freeze_time"]
