"""Names of jobs: how a job is found again, and others' jobs are left alone."""

import re

import dagster as dg
import pytest

from clip_assets.dagster_skypilot import SkyPilotError
from clip_assets.dagster_skypilot.names import (
    INSTANCE_VARIABLE,
    is_of_work,
    of_instance,
    of_work,
    run_of,
)


def test_two_instances_never_share_a_prefix() -> None:
    with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as other:
        assert of_instance(one) == of_instance(one)
        assert of_instance(one) != of_instance(other)


def test_without_a_database_the_setting_names_the_instance(
    dagster_plus: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Dagster+ the storage has no id; the error names the setting, which tells apart."""
    with pytest.raises(SkyPilotError, match="set DAGSTER_SKYPILOT_INSTANCE"):
        of_instance(dagster_plus)
    prefixes = set()
    for name in ("my-company", "my-company-prod"):
        monkeypatch.setenv(INSTANCE_VARIABLE, name)
        prefixes.add(of_instance(dagster_plus))
    assert len(prefixes) == 2
    assert all(re.fullmatch(r"dagster-[0-9a-f]{8}-", prefix) for prefix in prefixes)


def test_the_run_is_found_from_the_name() -> None:
    assert run_of("dagster-01234567-my-work-0a1b2c3d-1") == "0a1b2c3d"


def test_work_whose_name_begins_alike_is_other_work(instance: dg.DagsterInstance) -> None:
    """`photos` is not `photos-2`."""
    prefix = of_work(instance, "photos")
    assert is_of_work(f"{prefix}0a1b2c3d-0", prefix)
    assert not is_of_work(f"{prefix}2-0a1b2c3d-0", prefix)


def test_a_name_that_skypilot_would_refuse_is_refused_at_once(instance: dg.DagsterInstance) -> None:
    with pytest.raises(SkyPilotError, match="cannot name a job"):
        of_work(instance, "my work")
