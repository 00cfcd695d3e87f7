"""Kills and stops of `clip-assets backfill` in mid-job, under the instance file that we ship.

The tests stand in the order of one story: each finds what the one before left behind.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest

from clip_assets.dagster_private import runs_with_slots
from clip_assets.runs.worker import WORKER_TAG
from tests.acceptance.conftest import MODEL, write_large_pictures
from tests.acceptance.dagster_api import Dagster
from tests.acceptance.dagster_project import dg_dev, environment, write_project

pytestmark = pytest.mark.dagster_ui

EMBEDDINGS = ("large", "tiny_untrained_0_fp32", "embeddings")
_COMMAND = f"{sys.executable} -m clip_assets.cli.app"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Workplace:
    """A project of a large and a small collection, and its environment."""

    folder: Path
    env: dict[str, str]

    def commits(self, collection: str) -> int:
        root = self.folder / "home/data" / collection / "embeddings"
        return len([*root.glob("*/*/*/commit.json")])

    @contextmanager
    def backfill(self, collection: str) -> Iterator["subprocess.Popen[str]"]:
        """The command as a script's background job has it: SIGINT ignored, a group of its own."""
        with subprocess.Popen(
            ["sh", "-c", f'trap "" INT; exec {_COMMAND} backfill "$0"', collection],
            cwd=self.folder / "project", env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def dagster(self) -> Iterator[Dagster]:
        """`dg dev`, stopped at the end as by Ctrl-C."""
        with dg_dev(self.folder / "project", self.env, self.folder / "dg_dev.log") as dagster:
            yield dagster

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(self.env["DAGSTER_HOME"]) as instance:
            yield instance

    def newest_run(self) -> dg.DagsterRun:
        with self.instance() as instance:
            (run,) = instance.get_runs(limit=1)
        return run

    def slots_held(self) -> set[str]:
        with self.instance() as instance:
            return runs_with_slots(instance)


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
    write_pictures: Callable[..., Path],
) -> Workplace:
    folder = tmp_path_factory.mktemp("killed")
    write_large_pictures(folder / "large")
    write_pictures(folder / "few", 3)
    collections = [
        {
            "collection": name,
            "source": {"type": "folder", "uri": str(folder / name)},
            "shard_size": 2,
            "model": MODEL,
        }
        for name in ("large", "few")
    ]
    write_project(folder / "project", *collections)
    return Workplace(folder, environment(folder / "home", new_database()))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_everything(workplace: Workplace, number: int, status: int) -> None:
    """The command ends with the signal's status, its job with it, and its run as canceled."""
    with workplace.backfill("large") as process:
        _wait_for_a_commit(workplace)
        jobs = _jobs(process)
        process.send_signal(number)
        said, _ = process.communicate()
    assert process.returncode == status, said
    assert jobs
    assert not [job for job in jobs if job.is_running()]
    run = workplace.newest_run()
    assert run.status == dg.DagsterRunStatus.CANCELED
    assert workplace.slots_held() == set()
    assert 0 < workplace.commits("large") < 20


def test_killed_command_blocks_nobody(workplace: Workplace) -> None:
    """After SIGKILL, the next command closes the run, frees its slot, says both and goes on."""
    with workplace.backfill("large") as process:
        _wait_for_a_commit(workplace)
        process.kill()
        process.wait()
    killed = workplace.newest_run()
    assert killed.status == dg.DagsterRunStatus.STARTED
    assert workplace.slots_held() == {killed.run_id}

    with workplace.backfill("few") as process:
        said, _ = process.communicate()

    assert process.returncode == 0, said
    assert f"Run {killed.run_id[:8]} was killed; it is closed as failed." in said
    with workplace.instance() as instance:
        closed = instance.get_run_by_id(killed.run_id)
    assert closed
    assert closed.status == dg.DagsterRunStatus.FAILURE
    assert workplace.slots_held() == set()


def test_stopped_dagster_goes_on_when_it_is_back(workplace: Workplace) -> None:
    """Nobody cancelled the run: it is retried, after what is committed. A killed worker's slot of
    the pool is free again, though its run has had its retry."""
    with workplace.dagster() as dagster:
        stopped = dagster.launch(EMBEDDINGS, partition="00000", until="00019")
        _wait_for_a_commit(workplace)
        job = _job_of(stopped)
    assert not job.is_running()
    with workplace.instance() as instance:
        run = instance.get_run_by_id(stopped)
    assert run
    assert run.status == dg.DagsterRunStatus.FAILURE

    with workplace.dagster() as dagster:
        dagster.wait(lambda: bool(dagster.runs_of("dagster/parent_run_id", stopped)), "a retry")
        (retry,) = dagster.runs_of("dagster/parent_run_id", stopped)
        _wait_for_a_commit(workplace)
        *_, worker, _ = dagster.tags(retry)[WORKER_TAG].split(" ")
        assert workplace.slots_held() == {retry}
        os.kill(int(worker), signal.SIGKILL)
        dagster.wait(lambda: not workplace.slots_held(), "the slot to be free")
        assert dagster.status(retry) == "FAILURE"


def _wait_for_a_commit(workplace: Workplace) -> None:
    before = workplace.commits("large")
    _wait(lambda: workplace.commits("large") > before, "a shard to be committed")


def _job_of(run_id: str) -> psutil.Process:
    (job,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if f"-{run_id[:8]}-" in " ".join(process.info["cmdline"] or ())
    ]
    return job


def _jobs(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "clip_assets.node.embed" in child.cmdline()]


def _wait(met: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not met():
        assert time.monotonic() < until, f"waited {_PATIENCE_SECONDS} s for {what}"
        time.sleep(_POLL_SECONDS)
