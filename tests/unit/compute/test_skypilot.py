"""Parts of the SkyPilot client that need no cluster: names, tasks, outcomes, prices, messages."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
import yaml
from dagster_pipes import PipesMessage

from clip_assets.compute import Reports
from clip_assets.compute.skypilot import names, outcome, price
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.jobs import JobState
from clip_assets.compute.skypilot.messages import StoreMessageReader
from clip_assets.compute.skypilot.task import task_of
from clip_assets.errors import HopelessJobError, JobError, SettingsError
from clip_assets.model import ModelSpec
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.node.messages import JOB_ID, MessageWriter
from clip_assets.store import costs
from clip_assets.store.costs import Cost
from clip_assets.store.objects import Objects


@pytest.mark.parametrize(
    ("status", "remedy", "kind"),
    [
        ("FAILED_NO_RESOURCE", "no cloud had the requested machine", HopelessJobError),
        ("FAILED_PRECHECKS", "`sky check`", HopelessJobError),
        ("FAILED_SETUP", "its setup failed", HopelessJobError),
        ("FAILED", "its program failed", JobError),
        ("FAILED_CONTROLLER", "controller", JobError),
        ("CANCELLED", "cancelled outside this run", HopelessJobError),
    ],
)
def test_every_failed_status_names_its_remedy(
    status: str, remedy: str, kind: type[JobError]
) -> None:
    """Each failed status has its own message with SkyPilot's reason; the job is retried only if a
    retry may succeed."""
    told = outcome.failure(_state(status=status, reason="because"), shards_failed=False)
    assert type(told) is kind
    assert remedy in str(told)
    assert str(told).endswith("SkyPilot says: because")


def test_a_job_that_reported_its_failed_shards_did_not_fail() -> None:
    """Exit status 1 with reported shards is not a failure of the job, nor is success."""
    assert outcome.failure(_state(status="FAILED"), shards_failed=True) is None
    assert outcome.failure(_state(status="SUCCEEDED"), shards_failed=False) is None


def test_ten_thousand_shards_fit_into_a_task(tmp_path: Path) -> None:
    """The environment contains only the URI of a job file, however many shards the job has."""
    job = _job(tuple(f"{number:05d}" for number in range(10_000)))
    uri = jobs.write(Objects(str(tmp_path / "photos")), job)
    task = task_of(SkyPilotConfig(), {"JOB": uri})
    assert len(json.dumps(task.envs)) < 2_000
    assert jobs.read(uri)[1].shards == job.shards


def test_resources_override_those_of_the_task_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`resources` overrides key by key, null removes a key, and secrets are passed as secrets."""
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    config = SkyPilotConfig(resources={"accelerators": "L4:2", "any_of": None, "use_spot": True})
    task = task_of(config, {"JOB": "x"})
    (resources,) = task.resources
    assert resources.accelerators == {"L4": 2}
    assert resources.use_spot
    assert resources.memory == "16+"
    assert task.secrets["HF_TOKEN"].get_secret_value() == "hf_canary"
    assert "hf_canary" not in json.dumps(task.envs)


def test_the_task_file_allows_spot_and_on_demand_gpus() -> None:
    """Unchanged, it requests the cheapest of several GPUs, spot or on-demand."""
    asked = list(task_of(SkyPilotConfig(), {"JOB": "x"}).resources)
    assert {resource.use_spot for resource in asked} == {True, False}
    assert {name for resource in asked for name in resource.accelerators} >= {"T4", "L4", "A100"}


def test_mounts_become_bucket_mounts() -> None:
    """`mounts` in the `sky:` block become SkyPilot's own bucket mounts."""
    task = task_of(SkyPilotConfig(mounts={"/images": "s3://bucket-of-photos"}), {"JOB": "x"})
    mount = task.storage_mounts["/images"]
    assert mount.source == "s3://bucket-of-photos"
    assert mount.mode.value == "MOUNT"


def test_a_job_for_a_pool_has_no_setup() -> None:
    """Workers of a pool are set up already, so their jobs have neither workdir nor setup."""
    task = task_of(SkyPilotConfig(pool="gpus"), {"JOB": "x"})
    assert task.setup is None
    assert task.workdir is None


def test_a_missing_task_file_is_named(tmp_path: Path) -> None:
    """A missing `sky.task` file is named; for an invalid one the error has SkyPilot's reason."""
    with pytest.raises(SettingsError, match="No such file"):
        task_of(SkyPilotConfig(task=str(tmp_path / "none.yaml")), {})
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump({"run": "true", "resorces": {}}))
    with pytest.raises(SettingsError, match="SkyPilot cannot read"):
        task_of(SkyPilotConfig(task=str(tmp_path / "broken.yaml")), {})


def test_job_names_identify_instance_and_run() -> None:
    """Two Dagster instances never share a prefix, and the run can be found from the name."""
    with dg.instance_for_test() as one:
        prefix = names.of_collection(one, "photos")
        assert prefix == names.of_collection(one, "photos")
        job_id = jobs.id_of("model", ["00000"], "0a1b2c3d-0000-4000-8000-000000000000", 1)
        assert names.run_of(f"{prefix}{job_id}") == "0a1b2c3d"
    with dg.instance_for_test() as other:
        assert names.of_instance(other) != prefix.removesuffix("photos-")


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
    assert price._instance_type(described) == found


def test_a_recovered_job_appends_its_messages(tmp_path: Path) -> None:
    """Messages of both attempts arrive once, in order, and none overwrites another."""
    objects = Objects(str(tmp_path / "photos"))
    handler = SimpleNamespace(handled=[])
    handler.handle_message = handler.handled.append
    reader = StoreMessageReader(objects, "job")
    with reader.read_messages(cast(Any, handler)) as params:
        for attempt in ("first", "second"):
            with MessageWriter(objects).open(params) as channel:
                for number in range(2):
                    channel.write_message(_message(f"{attempt} {number}"))
            reader.poll()
        reader.poll()
    assert [message["method"] for message in handler.handled] == [
        "first 0", "first 1", "second 0", "second 1",
    ]  # fmt: skip
    assert params == {JOB_ID: "job"}


def test_a_job_that_reports_nothing_has_failed() -> None:
    """Without a report about any shard there is no evidence that the job worked."""
    with pytest.raises(JobError, match="without reporting any shard"):
        Reports().require_any()


def test_costs_of_all_jobs_are_kept(tmp_path: Path) -> None:
    """Every job's cost is stored beside its job file, and all can be summed."""
    objects = Objects(str(tmp_path / "photos"))
    for number in range(3):
        cost = Cost(job=str(number), infra="AWS", accelerator="T4", gpu_seconds=60.0, dollars=0.01)
        costs.write(objects, f"job-{number}", cost)
        jobs.write(objects, _job(("00000",)).model_copy(update={"job_id": f"job-{number}"}))
    assert sum(cost.gpu_seconds for cost in costs.read_all(objects)) == 180.0


def _job(shards: tuple[str, ...]) -> EmbedJob:
    return EmbedJob(
        job_id="job", run_id="run", collection="photos", shards=shards,
        model=ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k"),
    )  # fmt: skip


def _state(**fields: object) -> JobState:
    plain: dict[str, Any] = {
        "id": 7, "name": "clip", "status": "RUNNING", "terminal": True, "reason": "",
        "details": "", "recoveries": 0, "seconds": 1.0, "submitted_at": 0.0, "infra": "",
        "machine": "", "record": None,
    }  # fmt: skip
    return JobState(**{**plain, **fields})


def _message(method: str) -> PipesMessage:
    return cast(PipesMessage, {"method": method, "params": None})
