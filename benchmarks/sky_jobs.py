"""What a managed job costs before and after its own work, in seconds of wall time.

    tests/skypilot/cluster/cluster run -- python benchmarks/sky_jobs.py --jobs 3

Launches a bare `true`, one after another, against the API server that SkyPilot is set to use. The
times are those of the server's own record, but for the first and the last, which are the caller's.
"""

import argparse
import os
import statistics
import time
from dataclasses import astuple, dataclass, fields

import sky
from sky import jobs

POLL_SECONDS = 1.0
RECORD = ["job_id", "status", "submitted_at", "start_at", "end_at"]


@dataclass(frozen=True)
class Stages:
    """Seconds from one stage of a job to the next."""

    accepted: float
    """from the call until the server had given the job its number"""
    started: float
    """from then until the job's command ran: the machine was found and set up"""
    ran: float
    """from then until the job ended"""
    seen: float
    """from then until a caller that polls knew"""

    @property
    def total(self) -> float:
        return sum(astuple(self))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3)
    count = parser.parse_args().jobs
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    names = [field.name for field in fields(Stages)]
    print("".join(f"{name:>10}" for name in [*names, "total"]))
    rows = []
    for _ in range(count):
        stages = stages_of(bare_task())
        rows.append([*astuple(stages), stages.total])
        say(rows[-1])
    print("median")
    say([statistics.median(column) for column in zip(*rows, strict=True)])


def bare_task() -> sky.Task:
    """The least that a job can do."""
    resources = {"cpus": 1, "memory": 1}
    return sky.Task.from_yaml_config({"name": "bare", "run": "true", "resources": resources})


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


def say(seconds: list[float]) -> None:
    print("".join(f"{value:>10.1f}" for value in seconds), flush=True)


if __name__ == "__main__":
    main()
