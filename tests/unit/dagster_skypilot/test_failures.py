"""How a managed job ended, and what to do."""

import pytest

from clip_assets.dagster_skypilot.failures import failure
from tests.unit.dagster_skypilot.conftest import state


@pytest.mark.parametrize(
    ("status", "remedy", "retried"),
    [
        ("FAILED_NO_RESOURCE", "no cloud had the requested machine", False),
        ("FAILED_PRECHECKS", "`sky check`", False),
        ("FAILED_SETUP", "its setup failed", False),
        ("FAILED", "its program failed", True),
        ("FAILED_CONTROLLER", "controller", True),
        ("CANCELLED", "cancelled outside this run", False),
    ],
)
def test_every_failed_status_names_its_remedy(status: str, remedy: str, retried: bool) -> None:
    """Each failed status has its own message with SkyPilot's reason; the job is retried only if a
    retry may succeed."""
    told = failure(state(status=status, reason="because"))
    assert told
    assert told.status == status
    assert told.allow_retries is retried
    assert remedy in str(told)
    assert str(told).endswith("SkyPilot says: because")


def test_success_is_no_failure() -> None:
    assert failure(state(status="SUCCEEDED")) is None
