"""Dagster stopped, and a worker killed, in mid-job, under the instance file that we ship."""

import os
import signal

import dagster as dg
import psutil
import pytest

from clip_assets.runs.worker import WORKER_TAG
from tests.acceptance.workplace import Workplace

pytestmark = pytest.mark.dagster_ui

EMBEDDINGS = ("large", "tiny_untrained_0_fp32", "embeddings")


def test_stopped_dagster_goes_on_when_it_is_back(workplace: Workplace) -> None:
    """Nobody cancelled the run, so it is retried and continues after what is committed. A killed
    worker's slot in the pool is freed, although its run has used up its retry."""
    with workplace.dagster() as dagster:
        dagster.materialize(("large", "catalog"))
        stopped = dagster.launch(EMBEDDINGS, partition="00000", until="00019")
        workplace.wait_for_a_commit()
        job = _job_of(stopped)
    assert not job.is_running()
    with workplace.instance() as instance:
        run = instance.get_run_by_id(stopped)
    assert run
    assert run.status == dg.DagsterRunStatus.FAILURE

    with workplace.dagster() as dagster:
        dagster.wait(lambda: bool(dagster.runs_of("dagster/parent_run_id", stopped)), "a retry")
        (retry,) = dagster.runs_of("dagster/parent_run_id", stopped)
        workplace.wait_for_a_commit()
        with workplace.instance() as instance:  # the UI's API does not tell this tag
            retried = instance.get_run_by_id(retry)
        assert retried
        *_, worker, _ = retried.tags[WORKER_TAG].split(" ")
        assert workplace.slots_held() == {retry}
        os.kill(int(worker), signal.SIGKILL)
        dagster.wait(lambda: not workplace.slots_held(), "the slot to be free")
        assert dagster.status(retry) == "FAILURE"


def _job_of(run_id: str) -> psutil.Process:
    (job,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if f"-{run_id[:8]}-" in " ".join(process.info["cmdline"] or ())
    ]
    return job
