"""Runs whose process was killed are closed and free what they held, under our instance files."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from clip_assets.dagster_private import WorkerStatus, pool_claims, runs_with_slots
from clip_assets.runs import abandoned, worker
from clip_assets.runs.slots import SlotWatch

PROJECT = Path(__file__).parents[3]
POOL = "embed"


@dg.asset
def embeddings() -> None:
    """What the runs of these tests are runs of."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance by the `dagster.yaml` that we ship."""
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        yield instance


@pytest.fixture
def killed(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A started run that holds the only slot, whose process was killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = _started(instance, process.pid)
    process.kill()
    process.wait()
    assert process.stdin
    process.stdin.close()
    return run


def test_killed_run_is_closed_and_its_slot_is_free(
    instance: dg.DagsterInstance, killed: dg.DagsterRun
) -> None:
    """The run is marked as failed, its slot is free, and both are reported."""
    assert runs_with_slots(instance) == {killed.run_id}
    said = [*abandoned.clear(instance)]
    assert said == [
        f"Run {killed.run_id[:8]} was killed; it is now marked as failed.",
        f"Run {killed.run_id[:8]} had ended but still held a pool slot; the slot is free now.",
    ]
    assert _status(instance, killed) == dg.DagsterRunStatus.FAILURE
    assert runs_with_slots(instance) == set()
    assert [*abandoned.clear(instance)] == []


def test_slot_of_an_ended_run_is_freed(instance: dg.DagsterInstance) -> None:
    """Dagster itself leaves the slot to a run that another process closed."""
    run = _started(instance)
    instance.report_run_failed(run)
    (said,) = abandoned.clear(instance)
    assert "had ended but still held a pool slot" in said
    assert runs_with_slots(instance) == set()


def test_slot_of_a_deleted_run_is_freed(instance: dg.DagsterInstance) -> None:
    """A run that was deleted in the UI holds nothing."""
    run = _started(instance)
    instance.run_storage.delete_run(run.run_id)
    (_,) = abandoned.clear(instance)
    assert runs_with_slots(instance) == set()


def test_living_run_is_left_alone(instance: dg.DagsterInstance) -> None:
    """A run keeps its slot as long as its process lives, or if nobody here can know."""
    runs = [_started(instance), _started(instance, host="elsewhere"), _started(instance, tag="")]
    assert [*abandoned.clear(instance)] == []
    assert {_status(instance, run) for run in runs} == {dg.DagsterRunStatus.STARTED}


def test_tag_of_a_killed_run_says_nothing_of_its_retry(
    instance: dg.DagsterInstance, killed: dg.DagsterRun
) -> None:
    """Dagster copies a run's tags to its retry, which another process executes."""
    retry = _started(instance, tag=killed.tags[worker.WORKER_TAG])
    assert not worker.is_gone(retry)


def test_monitoring_is_told_of_a_killed_run(
    instance: dg.DagsterInstance, killed: dg.DagsterRun
) -> None:
    """The shipped run launcher's answer makes run monitoring mark the run as failed."""
    launcher = instance.run_launcher
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(killed).status == WorkerStatus.NOT_FOUND
    living = _started(instance)
    assert launcher.check_run_worker_health(living).status == WorkerStatus.RUNNING


def test_wait_names_what_holds_the_slot(instance: dg.DagsterInstance) -> None:
    """A run that waits for a slot says once which run of which asset holds it."""
    holder, waiting = _started(instance), _started(instance)
    assert pool_claims(instance, POOL).holding == (holder.run_id,)
    said: list[str] = []
    SlotWatch(instance, POOL, waiting.run_id, said.append).look()
    assert said == [
        f"Waiting for a slot of pool `embed`, which run {holder.run_id[:8]} of embeddings holds."
    ]


def test_wait_for_a_killed_run_ends(instance: dg.DagsterInstance, killed: dg.DagsterRun) -> None:
    """The waiting run itself frees the slot, so no daemon is needed."""
    waiting = _started(instance)
    said: list[str] = []
    SlotWatch(instance, POOL, waiting.run_id, said.append).look()
    assert "was killed" in said[0]
    assert waiting.run_id in pool_claims(instance, POOL).holding


def test_both_instance_files_promise_the_same() -> None:
    """Postgres' file retries, monitors and frees as sqlite's; a slot is free within a minute."""
    sqlite, postgres = (
        yaml.safe_load((PROJECT / name).read_text())
        for name in ("dagster.yaml", "dagster.postgres.yaml")
    )
    for section in ("concurrency", "run_launcher", "run_monitoring", "run_retries"):
        assert sqlite[section] == postgres[section]
    monitoring = sqlite["run_monitoring"]
    # Closed at one look, freed at a later one.
    assert (
        2 * monitoring["poll_interval_seconds"] + monitoring["free_slots_after_run_end_seconds"]
        < 60
    )


def _started(
    instance: dg.DagsterInstance,
    pid: int | None = None,
    *,
    host: str | None = None,
    tag: str | None = None,
) -> dg.DagsterRun:
    """A started run that claims a slot, executed by the process with this id or by this one."""
    job = dg.Definitions([embeddings]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, asset_selection={embeddings.key}
    )
    tags = worker.tags(run.run_id)
    run_id, here, own, started = tags[worker.WORKER_TAG].split(" ")
    if pid is not None:
        own, started = str(pid), worker.started(psutil.Process(pid))
    named = " ".join([run_id, host or here, own, started]) if tag is None else tag
    instance.add_run_tags(run.run_id, {worker.WORKER_TAG: named})
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "embeddings")
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found


def _status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status
