"""What embedding adds to `dagster_skypilot`, as far as it needs no cluster."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import sky
from rich.console import Console

from clip_assets.cli.sky_launch import by_count, by_size, launch
from clip_assets.collection import Collection
from clip_assets.compute import Outcomes
from clip_assets.compute.skypilot import task
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.failures import as_job_error
from clip_assets.dagster_skypilot import SkyPilotError, SkyPilotJobError
from clip_assets.dagster_skypilot import jobs as sky_jobs
from clip_assets.errors import HopelessJobError, JobError, SettingsError
from clip_assets.model import ModelSpec
from clip_assets.node import job as jobs
from clip_assets.node.job import EmbedJob
from clip_assets.store import costs
from clip_assets.store.costs import Cost
from clip_assets.store.objects import Objects


def test_ten_thousand_shards_fit_into_a_task(tmp_path: Path) -> None:
    """The environment contains only the URI of a job file, however many shards the job has."""
    job = _job(tuple(f"{number:05d}" for number in range(10_000)))
    uri = jobs.write(Objects(str(tmp_path / "photos")), job)
    assert len(uri) < 2_000
    assert jobs.read(uri)[1].shards == job.shards


def test_resources_override_those_of_the_task_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`resources` overrides key by key, null removes a key, and secrets are passed as secrets."""
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    config = SkyPilotConfig(resources={"accelerators": "L4:2", "any_of": None, "use_spot": True})
    parsed = sky_task(config)
    (resources,) = parsed.resources
    assert resources.accelerators == {"L4": 2}
    assert resources.use_spot
    assert resources.memory == "16+"
    assert task.secrets(config) == {"HF_TOKEN": "hf_canary"}
    assert "hf_canary" not in json.dumps(parsed.envs)


def test_the_task_file_allows_spot_and_on_demand_gpus() -> None:
    """Unchanged, it requests the cheapest of several GPUs, spot or on-demand."""
    asked = list(sky_task(SkyPilotConfig()).resources)
    assert {resource.use_spot for resource in asked} == {True, False}
    assert {name for resource in asked for name in resource.accelerators} >= {"T4", "L4", "A100"}


def test_mounts_become_bucket_mounts() -> None:
    """`mounts` in the `sky:` block become SkyPilot's own bucket mounts."""
    made = {"name": "made-by-skypilot", "mode": "MOUNT_CACHED"}
    parsed = sky_task(SkyPilotConfig(mounts={"/images": "s3://bucket-of-photos", "/clip": made}))
    mount, other = parsed.storage_mounts["/images"], parsed.storage_mounts["/clip"]
    assert (mount.source, mount.mode.value) == ("s3://bucket-of-photos", "MOUNT")
    assert (other.name, other.mode.value) == ("made-by-skypilot", "MOUNT_CACHED")


def test_a_missing_task_file_is_named(tmp_path: Path) -> None:
    """A missing `sky.task` file is named."""
    with pytest.raises(SettingsError, match="No such file"):
        task.document(SkyPilotConfig(task=str(tmp_path / "none.yaml")))


@pytest.mark.parametrize(("retried", "kind"), [(True, JobError), (False, HopelessJobError)])
def test_skypilots_errors_name_the_remedy_for_a_collection(
    kind: type[JobError], *, retried: bool
) -> None:
    """After the library's own sentence; the run is retried only if that may help."""
    error = SkyPilotJobError("SkyPilot job 7 ended.", "FAILED", allow_retries=retried)
    with (
        pytest.raises(JobError, match=r"^SkyPilot job 7 ended\. Try another\.$") as caught,
        as_job_error("Try another."),
    ):
        raise error
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, SkyPilotError)


def test_a_job_that_reports_nothing_has_failed() -> None:
    """Without a report about any shard there is no evidence that the job worked."""
    with pytest.raises(JobError, match="without reporting any shard"):
        Outcomes().require_any()


def test_costs_of_all_jobs_are_kept(tmp_path: Path) -> None:
    """Every job's cost is stored beside its job file, and all can be summed."""
    objects = Objects(str(tmp_path / "photos"))
    for number in range(3):
        cost = Cost(job=str(number), infra="AWS", accelerator="T4", gpu_seconds=60.0, dollars=0.01)
        costs.write(objects, f"job-{number}", cost)
        jobs.write(objects, _job(("00000",)).model_copy(update={"job_id": f"job-{number}"}))
    assert sum(cost.gpu_seconds for cost in costs.read_all(objects)) == 180.0


def sky_task(config: SkyPilotConfig) -> sky.Task:
    """What SkyPilot makes of the task of a job with this `sky:` block."""
    return sky.Task.from_yaml_config(
        task.document(config), secrets_overrides=list(task.secrets(config).items())
    )


def _job(shards: tuple[str, ...]) -> EmbedJob:
    return EmbedJob(
        job_id="job", run_id="run", collection="photos", shards=shards,
        model=ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shards", "jobs_wanted", "lengths"),
    [(10, 4, [3, 3, 2, 2]), (9, 6, [2, 2, 2, 1, 1, 1]), (2, 5, [1, 1]), (0, 3, [])],
)
def test_shards_are_divided_among_so_many_jobs(
    shards: int, jobs_wanted: int, lengths: list[int]
) -> None:
    """In order, none left out, and no job has more than one shard more than another."""
    keys = [f"{number:05d}" for number in range(shards)]
    ranges = by_count(keys, jobs_wanted)
    assert [len(one) for one in ranges] == lengths
    assert [key for one in ranges for key in one] == keys


def test_a_range_whose_job_is_running_is_not_launched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two ranges, the one with a running job is shown with that job; the other is launched."""
    spec = ModelSpec(name="ViT-B-32", pretrained="laion2b_s34b_b79k")
    objects = Objects(str(tmp_path / "photos"))
    shards = ["00000", "00001", "00002"]
    running = f"clip-by-hand-photos-{jobs.batch_of(spec.slug, shards[:2])}"
    monkeypatch.setattr(
        sky_jobs, "unfinished", lambda _: [SimpleNamespace(name=running, id=7, attachable=True)]
    )
    monkeypatch.setattr(sky_jobs, "launch", lambda *_, **__: 8)
    collection = Collection(name="photos", spec=spec, part_rows=9)
    kept, new = launch(collection, objects, by_size(shards, 2), Console(quiet=True))
    assert (kept.sky_job, kept.job_id) == (7, None)
    assert (new.sky_job, new.shards) == (8, ("00002",))
    written = jobs.read(objects.uri(f"jobs/{new.job_id}/job.json"))[1]
    assert (written.shards, written.part_rows) == (("00002",), 9)
