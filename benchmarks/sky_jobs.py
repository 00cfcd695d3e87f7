"""The overhead of a managed job before and after its own work, in seconds of wall time.

    tests/skypilot/cluster/cluster run -- python -m benchmarks.sky_jobs --jobs 3

Launches jobs that run `true`, one after another, and then as many embedding jobs of 200 small
pictures with a tiny model. The times come from SkyPilot's own records, except for the first and the
last, which the caller measures. Compared with the job that runs `true`, it prints how long it takes
until the first image is embedded, and the overhead of a job. Finally it cancels as many jobs that
sleep and prints how long it takes until SkyPilot accepts, until its controller acts, and until the
program is gone.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import sky
from sky import jobs

from clip_assets import catalog
from clip_assets.compute.skypilot import task as embedding_task
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.model import ModelSpec
from clip_assets.node import job as node_jobs
from clip_assets.node.job import EmbedJob
from clip_assets.node.progress import read_progress
from clip_assets.source.config import FolderConfig
from clip_assets.source.open import open_source
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects
from tests.conftest import TINY, picture
from tests.skypilot.for_slurm import task_for_slurm

POLL_SECONDS = 1.0
SLEEP = "sleep 3613"
IMAGES = 200
SMALL = {"cpus": 1, "memory": 1, "accelerators": "L4:1", "any_of": None}
RECORD = ["job_id", "status", "submitted_at", "start_at", "end_at"]


@dataclass(frozen=True)
class Stages:
    """Seconds from one stage of a job to the next."""

    accepted: float
    """from the call until the server assigned the job's id"""
    started: float
    """from then until the job's command started: finding and setting up the machine"""
    ran: float
    """from then until the job ended"""
    seen: float
    """from then until a polling caller saw it"""

    @property
    def total(self) -> float:
        return sum(astuple(self))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    count = parser.parse_args().jobs
    print(f"load average of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    names = [field.name for field in fields(Stages)]
    print("".join(f"{name:>10}" for name in [*names, "total"]))
    rows = []
    for _ in range(count):
        stages = stages_of(bare_task())
        rows.append([*astuple(stages), stages.total])
        say(rows[-1])
    print("median")
    bare = [statistics.median(column) for column in zip(*rows, strict=True)]
    say(bare)
    with tempfile.TemporaryDirectory() as folder:
        jobs_done = [embedding(Path(folder) / str(number)) for number in range(count)]
    first, beside = (statistics.median(column) for column in zip(*jobs_done, strict=True))
    until_true_ran = bare[0] + bare[1]
    print(f"first image {first:.1f} s after the call, {first / until_true_ran:.2f} x a bare start")
    print(f"overhead of a job {beside:.1f} s, {beside / bare[-1]:.2f} x a bare job")
    waits = zip(*[cancellation() for _ in range(count)], strict=True)
    accepted, taken_up, gone = (statistics.median(column) for column in waits)
    print(f"a cancellation is accepted after {accepted:.1f} s; {taken_up:.1f} s later the")
    print(f"controller, which polls every 15 s, acts; {gone:.1f} s later the program is gone")


def bare_task(command: str = "true") -> sky.Task:
    """The smallest possible job."""
    resources = {"cpus": 1, "memory": 1}
    return sky.Task.from_yaml_config({"name": "bare", "run": command, "resources": resources})


def stages_of(task: sky.Task) -> Stages:
    """Launches the task as a managed job and follows it to its end."""
    called = time.time()
    job_ids, _ = sky.get(jobs.launch(task))
    accepted = time.time()
    while True:
        (record,), *_ = sky.get(jobs.queue_v2(refresh=False, job_ids=job_ids, fields=RECORD))
        if record["status"].is_terminal():
            break
        time.sleep(POLL_SECONDS)
    if record["status"] != jobs.ManagedJobStatus.SUCCEEDED:
        raise SystemExit(f"job {job_ids[0]} ended as {record['status'].value}")
    return Stages(
        accepted=accepted - called,
        started=record["start_at"] - accepted,
        ran=record["end_at"] - record["start_at"],
        seen=time.time() - record["end_at"],
    )


def cancellation() -> tuple[float, float, float]:
    """Seconds until a cancellation is accepted, from then until the controller acts, and from then
    until the program is gone.

    Only for programs that run on this machine, as on the test cluster.
    """
    job_ids, _ = sky.get(jobs.launch(bare_task(f"exec {SLEEP}")))
    while not _sleeping():
        time.sleep(POLL_SECONDS)
    gone: list[float] = []
    watcher = threading.Thread(target=_gone, args=(gone,), daemon=True)
    watcher.start()
    called = time.time()
    sky.get(jobs.cancel(job_ids=job_ids))
    accepted = time.time()
    while _status(job_ids) == jobs.ManagedJobStatus.RUNNING:
        time.sleep(0.1)
    taken_up = time.time()
    watcher.join()
    return accepted - called, taken_up - accepted, max(gone[0] - taken_up, 0.0)


def _status(job_ids: list[int] | None) -> jobs.ManagedJobStatus | None:
    (record,), *_ = sky.get(jobs.queue_v2(refresh=False, job_ids=job_ids, fields=RECORD))
    return record["status"]


def _gone(seen: list[float]) -> None:
    while _sleeping():
        time.sleep(0.05)
    seen.append(time.time())


def _sleeping() -> bool:
    return subprocess.run(["pgrep", "-fx", SLEEP], check=False, capture_output=True).returncode == 0


def embedding(folder: Path) -> tuple[float, float]:
    """Seconds until the first image is embedded, and all seconds except those of embedding."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"pictures/{number:05d}.png").write_bytes(picture(number))
    objects = Objects(str(folder / "data/photos"))
    source = FolderConfig(uri=str(folder / "pictures"))
    head = catalog.refresh(objects, "photos", source, open_source(source).list(), IMAGES)
    spec = ModelSpec(name=TINY, untrained_seed=0)
    job = EmbedJob(
        job_id="bench", run_id="bench", collection="photos", model=spec,
        shards=tuple(shard.shard for shard in head.shards),
    )  # fmt: skip
    config = SkyPilotConfig(task=str(task_for_slurm("compute_vectors", folder)), resources=SMALL)
    task = sky.Task.from_yaml_config(embedding_task.document(config))
    task.update_envs({"JOB": node_jobs.write(objects, job)})
    seen: list[float] = []
    called = time.time()
    watcher = threading.Thread(target=_first_image, args=(objects, seen), daemon=True)
    watcher.start()
    total = stages_of(task).total
    watcher.join(POLL_SECONDS * 2)
    done = [commits.read(objects, spec.slug, shard.at) for shard in head.shards]
    return seen[0] - called, total - sum(commit.seconds for commit in done if commit)


def _first_image(objects: Objects, seen: list[float]) -> None:
    while True:
        progress = read_progress(objects, "bench")
        if progress and progress.images_done:
            seen.append(time.time())
            return
        time.sleep(0.1)


def say(seconds: list[float]) -> None:
    print("".join(f"{value:>10.1f}" for value in seconds), flush=True)


if __name__ == "__main__":
    main()
