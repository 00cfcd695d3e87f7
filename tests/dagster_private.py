"""What the tests use of Dagster's internals: the clock of its log and its storage."""

from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster._core.test_utils import freeze_time

__all__ = ["freeze_time", "set_defs_state_storage"]
