"""SkyPilot's managed jobs as processes of this machine: all that a cloud would be paid for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clip_assets.dagster_skypilot import jobs
from clip_assets.dagster_skypilot.jobs import JobState
from clip_assets.dagster_skypilot.task import AnyTask, build
from tests.dagster_private import without_database

PROJECT = Path(__file__).parents[3]


def state(**fields: object) -> JobState:
    """A managed job as SkyPilot's queue might show it."""
    plain: dict[str, Any] = {
        "id": 7, "name": "dagster-0-work-0-0", "status": "RUNNING", "terminal": False, "reason": "",
        "details": "", "recoveries": 0, "seconds": 1.0, "submitted_at": 0.0, "infra": "",
        "machine": "", "record": None,
    }  # fmt: skip
    return JobState(**{**plain, **fields})


@dataclass
class ManagedJobs:
    """The jobs and their processes, by id."""

    states: dict[int, JobState] = field(default_factory=dict)
    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    pool: str | None = None

    def launch(
        self,
        task: AnyTask,
        name: str,
        *,
        pool: str | None,
        envs: Mapping[str, str],
        secrets: Mapping[str, str] | None,
    ) -> int:
        built = build(task, envs=envs, secrets=secrets or {}, pool=pool)
        job_id = len(self.states) + 1
        self.pool, self.secrets = pool, dict(secrets or {})
        self.processes[job_id] = subprocess.Popen(
            ["bash", "-c", str(built.run)],
            cwd=PROJECT,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                 **envs, **self.secrets},
        )  # fmt: skip
        self.states[job_id] = state(id=job_id, name=name, submitted_at=time.time())
        return job_id

    def look(self, job_ids: list[int]) -> list[JobState]:
        for job_id in job_ids:
            ended = self.processes[job_id].poll() if job_id in self.processes else None
            if ended is not None and not self.states[job_id].terminal:
                self.end(job_id, "FAILED" if ended else "SUCCEEDED")
        return [self.states[job_id] for job_id in job_ids]

    def unfinished(self, name: str) -> list[JobState]:
        found = self.look(list(self.states))
        return [job for job in found if job.name.startswith(name) and not job.terminal]

    def cancel(self, job_ids: list[int]) -> None:
        for job_id in job_ids:
            self.end(job_id, "CANCELLED")
            if job_id in self.processes:
                self.processes[job_id].kill()

    def end(self, job_id: int, status: str) -> None:
        self.states[job_id] = replace(self.states[job_id], status=status, terminal=True)


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedJobs]:
    fake = ManagedJobs()
    monkeypatch.setattr(jobs, "launch", fake.launch)
    monkeypatch.setattr(jobs, "states", fake.look)
    monkeypatch.setattr(jobs, "unfinished", fake.unfinished)
    monkeypatch.setattr(jobs, "cancel", fake.cancel)
    monkeypatch.setattr(jobs, "log_lines", lambda _: iter(()))
    monkeypatch.setattr(jobs, "dashboard", lambda job_id: f"http://sky/jobs/{job_id}")
    yield fake
    for process in fake.processes.values():
        process.kill()
        process.wait()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def dagster_plus(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance whose run storage answers like any other, and is no database of its own."""
    without_database(instance)
    return instance


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """A task whose program speaks Pipes, as a user of the package writes it."""

    def write(lines: str) -> dict[str, Any]:
        file = tmp_path / "program.py"
        file.write_text(
            "import os, time\n"
            "from dagster_pipes import open_dagster_pipes\n"
            "from clip_assets.dagster_skypilot.messages import PipesObjectStoreMessageWriter\n"
            "with open_dagster_pipes(message_writer=PipesObjectStoreMessageWriter()) as pipes:\n"
            + "".join(f"    {line}\n" for line in lines.splitlines())
        )
        return {"name": "program", "run": f"python {file}"}

    return write
