"""Dagster's embeddings on SkyPilot's managed jobs: a backfill, and everything that can go wrong."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from clip_assets.dagster_skypilot import JOB_TAG, jobs
from clip_assets.store import costs
from clip_assets.store.objects import Objects
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import PROJECT, dg_dev, environment, write_project
from tests.conftest import TINY
from tests.skypilot.for_slurm import task_for_slurm

SHARDS = 6
NODE_CPUS = 16
MODEL = {"name": TINY, "untrained_seed": 0}
SLUG = "tiny_untrained_0_fp32"
STRANGER = "somebody-elses-job"


@dataclass(frozen=True)
class Workshop:
    """A running Dagster whose collections are embedded on the test cluster."""

    dagster: Dagster
    folder: Path

    def objects(self, collection: str) -> Objects:
        return Objects(str(self.folder / "home/data" / collection))

    def parts(self, collection: str) -> dict[str, tuple[str, int]]:
        """Each part's hash and the time it was written, by its path."""
        root = self.folder / "home/data" / collection
        return {
            str(path.relative_to(root)): (_sha256(path), path.stat().st_mtime_ns)
            for path in sorted(root.glob("embeddings/*/*/*/part-*.parquet"))
        }

    def says(self, run: str, text: str) -> bool:
        """Whether the run's log has the text."""
        events = self.dagster.ask("Run", id=run)["eventConnection"]["events"]
        return any(text in event.get("message", "") for event in events)

    def sky_job(self, run: str) -> int:
        """Id of the managed job that the run waits for, as soon as it has one."""
        self.dagster.wait(lambda: JOB_TAG in self.dagster.tags(run), "the run to launch its job")
        return int(self.dagster.tags(run)[JOB_TAG])


@pytest.fixture(scope="module")
def workshop(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
) -> Iterator[Workshop]:
    """`photos` is quick, others have many parts; `nowhere` asks for what is not to be had."""
    folder = tmp_path_factory.mktemp("workshop")
    write_pictures(folder / "photos", SHARDS * 4)
    write_pictures(folder / "many", 1200)
    on_slurm = {
        "task": str(task_for_slurm("compute_vectors", folder)),
        "resources": {
            "infra": "slurm/cluster", "cpus": 1, "memory": 1, "accelerators": "L4:1", "any_of": None
        },
        "orphan_minutes": 0,
    }  # fmt: skip
    whole_node = {**on_slurm, "resources": {**on_slurm["resources"], "cpus": NODE_CPUS}}
    nowhere = {**on_slurm, "resources": {**on_slurm["resources"], "accelerators": "H100:8"}}
    project = write_project(
        folder / "project",
        _collection("photos", folder / "photos", on_slurm, shard_size=4, shards_per_run=3),
        _collection("slow", folder / "many", whole_node, shard_size=600, part_rows=3),
        _collection("slower", folder / "many", on_slurm, shard_size=300, part_rows=1),
        _collection("left", folder / "many", on_slurm, shard_size=300, part_rows=1),
        _collection("nowhere", folder / "photos", nowhere, shard_size=4),
    )
    env = environment(folder / "home", new_database())
    _watch_workers_closely(Path(env["DAGSTER_HOME"]) / "dagster.yaml")
    with dg_dev(project, env, folder / "dg_dev.log") as dagster:
        listed = dagster.materialize(
            *((name, "catalog") for name in ("photos", "slow", "slower", "left", "nowhere"))
        )
        assert listed.status == "SUCCESS", listed.failures
        yield Workshop(dagster, folder)


@pytest.fixture(scope="module")
def stranger() -> Iterator[int]:
    """A managed job that is none of ours."""
    resources = {"infra": "slurm/cluster/normal", "cpus": 1, "memory": 1}
    config = {"name": STRANGER, "run": "sleep 3600", "resources": resources}
    job = jobs.launch(config, STRANGER)
    yield job
    jobs.cancel([job])


def test_a_backfill_runs_as_concurrent_managed_jobs(workshop: Workshop) -> None:
    """Six shards in two jobs at once; every materialization leads to its job, GPU and price."""
    dagster = workshop.dagster
    shards = dagster.partitions(("photos", SLUG, "embeddings"))["partitionKeys"]
    assert len(shards) == SHARDS
    backfill = dagster.backfill(("photos", SLUG, "embeddings"), shards)
    dagster.wait(lambda: len(dagster.ask("Backfill", id=backfill)["runs"]) == 2, "two runs")
    runs = [run["runId"] for run in dagster.ask("Backfill", id=backfill)["runs"]]
    at_once = {workshop.sky_job(run) for run in runs}
    assert len(at_once) == 2
    finished = [dagster.finish(run) for run in runs]
    assert [run.status for run in finished] == ["SUCCESS", "SUCCESS"], finished
    spans = [(run["startTime"], run["endTime"]) for run in (dagster.ask("Run", id=r) for r in runs)]
    assert max(start for start, _ in spans) < min(end for _, end in spans)

    found = {
        m.partition: m.metadata
        for m in reversed(dagster.materializations(("photos", SLUG, "embeddings")))
    }
    assert sorted(found) == shards
    assert {int(values["sky_job"]) for values in found.values()} == at_once
    assert {values["gpu"] for values in found.values()} == {"1x L4"}
    assert all(values["dollars"] > 0 for values in found.values())
    assert all(values["gpu_seconds"] > 0 for values in found.values())
    paid = costs.read_all(workshop.objects("photos"))
    assert {int(cost.job) for cost in paid} == at_once
    assert all(cost.dollars and cost.dollars > 0 for cost in paid)


def test_a_preempted_job_resumes_and_makes_the_same_bytes(workshop: Workshop) -> None:
    """Losing its machine in mid-shard, a job redoes at most one part; the parquet is the same."""
    dagster = workshop.dagster
    run = dagster.launch(("slow", SLUG, "embeddings"), partition="00000", until="00001")
    job = workshop.sky_job(run)
    dagster.wait(lambda: len(workshop.parts("slow")) >= 2, "two parts")
    before = _preempt(workshop, "slow")
    dagster.wait(lambda: jobs.state(job).recoveries > 0, "the job to be recovered")
    finished = dagster.finish(run)
    assert finished.status == "SUCCESS", finished.failures
    after = workshop.parts("slow")
    redone = [path for path, (_, written) in before.items() if after[path][1] != written]
    assert len(redone) <= 1
    assert {path: digest for path, (digest, _) in after.items()} == _embedded_here(workshop, "slow")


def test_a_lost_workers_retry_goes_on_with_its_job_and_terminate_ends_it_alone(
    workshop: Workshop, stranger: int
) -> None:
    """SIGKILL the worker: its retry waits for the same job. Terminate: that job ends, no other."""
    dagster = workshop.dagster
    run = dagster.launch(("slower", SLUG, "embeddings"), partition="00000", until="00003")
    job = workshop.sky_job(run)
    _kill_worker(workshop, run)
    dagster.wait(lambda: bool(dagster.runs_of("dagster/parent_run_id", run)), "a retry")
    (retry,) = dagster.runs_of("dagster/parent_run_id", run)
    went_on = f"re-attached to SkyPilot job {job}"
    dagster.wait(lambda: workshop.says(retry, went_on), "the retry to find the job")
    assert workshop.sky_job(retry) == job
    assert [one.id for one in _of_same_dagster(job)] == [job]
    dagster.terminate(retry)
    dagster.wait(lambda: not jobs.state(job).attachable, "the job to be cancelled")
    assert dagster.finish(retry).status == "CANCELED"
    assert not jobs.state(stranger).terminal


def test_the_sensor_sweeps_an_orphan_and_nothing_else(workshop: Workshop, stranger: int) -> None:
    """A job whose worker died and was not tried again is cancelled; a stranger's job survives."""
    dagster = workshop.dagster
    run = dagster.launch(
        ("left", SLUG, "embeddings"),
        partition="00000", until="00002", tags={"dagster/max_retries": "0"},
    )  # fmt: skip
    job = workshop.sky_job(run)
    spared = dagster.dry_run_sensor(f"left_{SLUG}_orphans")
    assert not jobs.state(job).terminal, spared
    _kill_worker(workshop, run)
    assert dagster.finish(run).status == "FAILURE"
    swept = dagster.dry_run_sensor(f"left_{SLUG}_orphans")
    assert f"{job} (" in swept["skipReason"]
    dagster.wait(lambda: not jobs.state(job).attachable, "the orphan to be cancelled")
    assert not jobs.state(stranger).terminal


def test_what_no_cloud_has_is_said(workshop: Workshop) -> None:
    """A job that asks for GPUs which are nowhere fails with the reason and the remedy."""
    failed = workshop.dagster.materialize(("nowhere", SLUG, "embeddings"), partition="00000")
    assert failed.status == "FAILURE"
    assert "`sky:` block" in failed.failures


def _collection(
    name: str, images: Path, sky_block: dict[str, object], **settings: int
) -> dict[str, object]:
    source = {"type": "folder", "uri": str(images)}
    return {
        "collection": name,
        "source": source,
        "model": MODEL,
        "sky": sky_block,
        "automate": False,
        **settings,
    }


def _watch_workers_closely(file: Path) -> None:
    """Otherwise a lost worker is noticed after two minutes."""
    settings = yaml.safe_load(file.read_text())
    settings["run_monitoring"]["poll_interval_seconds"] = 5
    settings["concurrency"]["runs"]["max_concurrent_runs"] = 4
    file.write_text(yaml.safe_dump(settings))


def _of_same_dagster(job: int) -> list[jobs.JobState]:
    of_instance = "-".join(jobs.state(job).name.split("-")[:2])
    return [job for job in jobs.unfinished(of_instance) if job.attachable]


def _preempt(workshop: Workshop, collection: str) -> dict[str, tuple[str, int]]:
    """Give the job's node to a job of the partition that goes first; the parts there were."""
    running = _command("squeue", "--noheader", "--partition", "spot", "--format", "%C %N")
    node = dict(line.split() for line in running.splitlines())[str(NODE_CPUS)]
    parts = workshop.parts(collection)
    _command(
        "sbatch", "--partition", "normal", "--nodelist", node, "--exclusive", "--mem", "30000",
        "--output", "/dev/null", "--wrap", "sleep 20",
    )  # fmt: skip
    return parts


def _embedded_here(workshop: Workshop, collection: str) -> dict[str, str]:
    """Hashes of the parts that one undisturbed process makes of the same catalog."""
    data = workshop.folder / "undisturbed"
    theirs = workshop.folder / "home/data" / collection
    (data / collection).mkdir(parents=True)
    (data / collection / "catalog").symlink_to(theirs / "catalog")
    job = next(theirs.glob("jobs/*/job.json"))
    (data / collection / "jobs/one").mkdir(parents=True)
    (data / collection / "jobs/one/job.json").write_text(job.read_text())
    subprocess.run(
        [sys.executable, "-m", "clip_assets.node.embed", "--job",
         str(data / collection / "jobs/one/job.json")],
        cwd=PROJECT, check=True, capture_output=True,
    )  # fmt: skip
    root = data / collection
    return {
        str(path.relative_to(root)): _sha256(path)
        for path in sorted(root.glob("embeddings/*/*/*/part-*.parquet"))
    }


def _kill_worker(workshop: Workshop, run: str) -> None:
    """Dagster's own log names the process that executes the run."""
    log = (workshop.folder / "dg_dev.log").read_text()
    found = re.search(rf"{run} - \d+ - LOGS_CAPTURED .*\(pid: (\d+)\)", log)
    assert found, f"run {run} has no worker"
    os.kill(int(found.group(1)), signal.SIGKILL)


def _command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
