"""The part of SkyPilot's API that the client uses."""

import pytest
import sky
from sky import exceptions

from clip_assets.dagster_skypilot import SkyPilotError, SkyPilotUnreachableError, jobs
from clip_assets.dagster_skypilot.machine import _asked_for, _instance_type
from tests.unit.dagster_skypilot.conftest import state


def test_many_jobs_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order that was asked for; a job that SkyPilot forgot is named."""
    asked = []

    def queue(job_ids: list[int]) -> list[jobs.JobState]:
        asked.append(job_ids)
        return [state(id=job_id) for job_id in sorted(job_ids) if job_id != 300]

    monkeypatch.setattr(jobs, "_queue", queue)
    ids = list(range(200, 0, -1))
    assert [job.id for job in jobs.states(ids)] == ids
    assert asked == [ids]
    with pytest.raises(SkyPilotError, match="no longer has managed job 300"):
        jobs.states([1, 300])


def test_a_server_of_another_version_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both what to do and what SkyPilot says, without colours and line breaks."""

    def queue(**_: object) -> None:
        raise exceptions.APIVersionMismatchError("\x1b[33mYour server is\n too old\x1b[0m")

    monkeypatch.setattr(sky.jobs, "queue_v2", queue)
    with pytest.raises(SkyPilotError) as caught:
        jobs.states([1])
    assert str(caught.value) == (
        f"SkyPilot's API server is of another version than SkyPilot {sky.__version__} here. "
        "Install the server's version, which `sky api info` shows; restart a server of your own "
        "with `sky api stop; sky api start`. SkyPilot says: Your server is too old"
    )
    assert not caught.value.allow_retries


def test_a_silent_server_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Because its jobs may still run, the client waits for it."""

    def queue(**_: object) -> None:
        raise exceptions.ApiServerConnectionError("http://127.0.0.1:1")

    monkeypatch.setattr(sky.jobs, "queue_v2", queue)
    with pytest.raises(SkyPilotUnreachableError, match="sky api status"):
        jobs.states([1])


@pytest.mark.parametrize(
    ("described", "found"),
    [
        ("1x[Spot](gpus=T4:1, cpus=4, mem=16, g4dn.xlarge, disk=64)", "g4dn.xlarge"),
        ("1x(gpus=L4:1, cpus=1, mem=1, disk=256)", None),
        ("-", None),
    ],
)
def test_the_instance_type_is_parsed_from_skypilots_description(
    described: str, found: str | None
) -> None:
    """SkyPilot's queue describes a machine in one string, which may contain its type."""
    assert _instance_type(described) == found


@pytest.mark.parametrize(
    ("described", "found"),
    [
        ("1x[L4:1]", {"L4": 1.0}),
        ("1x(gpus=A100-80GB:8, cpus=4, mem=16, disk=64)", {"A100-80GB": 8.0}),
        ("1x[CPU:4+]", {}),
        ("1x[L4:1, A10:1]", {"L4": 1.0, "A10": 1.0}),
        ("-", {}),
    ],
)
def test_the_accelerator_of_an_ended_job_is_what_was_asked_for(
    described: str, found: dict[str, float]
) -> None:
    """A job may end between two looks; its machine is gone then, its description is not."""
    assert _asked_for(described) == found
