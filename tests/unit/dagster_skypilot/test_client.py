"""`PipesSkyPilotClient` with a real Dagster, and programs that speak Pipes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clip_assets.dagster_skypilot import JOB_TAG, PipesSkyPilotClient, SkyPilotJobError
from clip_assets.dagster_skypilot.names import INSTANCE_VARIABLE
from tests.unit.dagster_skypilot.conftest import ManagedJobs

Program = Callable[[str], dict[str, Any]]
WAIT = "while not os.path.exists(os.environ['GATE']): time.sleep(0.05)\n"


@pytest.fixture
def client(tmp_path: Path) -> PipesSkyPilotClient:
    return PipesSkyPilotClient(str(tmp_path / "messages"), poll_seconds=0.05)


def materialize(
    instance: dg.DagsterInstance, client: PipesSkyPilotClient, **asked: Any
) -> dg.ExecuteInProcessResult:
    """A run of one asset that asks the client for one job."""

    @dg.asset
    def trained(
        context: dg.AssetExecutionContext, skypilot: PipesSkyPilotClient
    ) -> dg.MaterializeResult[Any]:
        return skypilot.run(context=context, **asked).get_materialize_result()

    return dg.materialize(
        [trained], instance=instance, resources={"skypilot": client}, raise_on_error=False
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data.user_failure_data
    assert data
    return data.description or ""


def test_a_job_reports_its_asset(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program,
) -> None:  # fmt: skip
    """Metadata of the program and of the job are on the materialization, the job's id on the run;
    extras, variables and secrets reach the program, and the pool SkyPilot."""
    task = program(
        "pipes.report_asset_materialization(metadata={"
        "'extra': pipes.get_extra('rows'), 'env': os.environ['A'], 'secret': os.environ['B']})"
    )
    result = materialize(
        instance, client, task=task, pool="gpus", extras={"rows": 3}, envs={"A": "a"},
        secrets={"B": "b"},
    )  # fmt: skip
    assert result.success
    (made,) = result.asset_materializations_for_node("trained")
    values = {key: value.value for key, value in made.metadata.items()}
    assert (values["extra"], values["env"], values["secret"]) == (3, "a", "b")
    assert values["skypilot/job"] == 1
    assert values["skypilot/dashboard"] == "http://sky/jobs/1"
    run = instance.get_run_by_id(result.run_id)
    assert run
    assert run.tags[JOB_TAG] == "1"
    assert (managed.pool, managed.secrets) == ("gpus", {"B": "b"})


def test_a_job_runs_for_an_instance_without_a_database(
    managed: ManagedJobs, dagster_plus: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As on Dagster+: refused in one sentence, and with the setting all works."""
    task = program("pipes.report_asset_materialization(metadata={'rows': 3})")
    refused = materialize(dagster_plus, client, task=task)
    assert "set DAGSTER_SKYPILOT_INSTANCE to a name" in failure_of(refused)
    monkeypatch.setenv(INSTANCE_VARIABLE, "my-company-prod")
    result = materialize(dagster_plus, client, task=task)
    assert result.success
    assert len(managed.states) == 1
    (made,) = result.get_asset_materialization_events()
    assert made.materialization.metadata["rows"].value == 3


def test_a_failed_job_fails_its_run_in_one_sentence(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program,
) -> None:  # fmt: skip
    """The UI shows it as the failure's description."""
    result = materialize(instance, client, task=program("raise SystemExit(3)"))
    assert not result.success
    assert failure_of(result).startswith("SkyPilot job 1 ended FAILED: its program failed.")


def test_reports_arrive_while_the_job_runs(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program, tmp_path: Path,
) -> None:  # fmt: skip
    """The program ends only after the run has seen what it reported."""
    gate = tmp_path / "gate"

    @dg.asset
    def streamed(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        task = program(f"pipes.report_custom_message('half')\n{WAIT}")
        with client.open(context=context, task=task, envs={"GATE": str(gate)}) as job:
            for _ in job.updates():
                if job.session.get_custom_messages():
                    gate.touch()
        job.require_success()
        yield dg.MaterializeResult()

    assert dg.materialize([streamed], instance=instance).success


def interrupted(
    instance: dg.DagsterInstance, client: PipesSkyPilotClient, task: dict[str, Any], gate: Path,
    *, canceled: bool,
) -> None:  # fmt: skip
    """A run that is interrupted while its job waits at the gate."""

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> None:
        envs = {"GATE": str(gate)}
        with client.open(context=context, task=task, name="work", envs=envs) as job:
            for _ in job.updates():
                if canceled:
                    context.instance.report_run_canceling(context.run)
                raise dg.DagsterExecutionInterruptedError

    assert not dg.materialize([trained], instance=instance, raise_on_error=False).success


def test_a_run_goes_on_with_the_job_of_a_lost_worker(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program, tmp_path: Path,
) -> None:  # fmt: skip
    """Nothing is launched twice, and what the job reports goes to the run that waits for it."""
    gate = tmp_path / "gate"
    task = program(f"{WAIT}pipes.report_asset_materialization(metadata={{'rows': 4}})")
    interrupted(instance, client, task, gate, canceled=False)
    assert [job.status for job in managed.states.values()] == ["RUNNING"]
    gate.touch()
    result = materialize(instance, client, task=task, name="work")
    assert result.success
    (made,) = result.asset_materializations_for_node("trained")
    assert made.metadata["rows"].value == 4
    assert made.metadata["skypilot/job"].value == 1
    assert len(managed.states) == 1


def test_a_job_without_a_name_is_found_by_the_runs_retries_alone(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program,
) -> None:  # fmt: skip
    """Two runs of the same asset may train with different data."""
    task = program("pass")
    for _ in range(2):
        assert materialize(instance, client, task=task).success
    first, second = (job.name.rsplit("-", 2)[0] for job in managed.states.values())
    assert first != second


@pytest.mark.parametrize(("forward", "left"), [(True, "CANCELLED"), (False, "RUNNING")])
def test_terminating_the_run_cancels_its_job(
    managed: ManagedJobs, instance: dg.DagsterInstance, client: PipesSkyPilotClient,
    program: Program, tmp_path: Path, *, forward: bool, left: str,
) -> None:  # fmt: skip
    """Unless `forward_termination` is off."""
    client.forward_termination = forward
    interrupted(instance, client, program(WAIT), tmp_path / "gate", canceled=True)
    assert [job.status for job in managed.states.values()] == [left]


def test_a_job_that_loses_its_machine_too_often_is_cancelled(
    managed: ManagedJobs, instance: dg.DagsterInstance, program: Program, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The failure says what to request instead."""
    client = PipesSkyPilotClient(str(tmp_path / "messages"), max_recoveries=2, poll_seconds=0.05)
    look = managed.look
    monkeypatch.setattr(
        "clip_assets.dagster_skypilot.jobs.states",
        lambda ids: [replace(job, recoveries=3) for job in look(ids)],
    )
    result = materialize(instance, client, task=program("time.sleep(600)"))
    assert "lost its machine 3 times" in failure_of(result)
    assert managed.states[1].status == "CANCELLED"


def test_errors_are_failures_that_respect_the_retry_policy() -> None:
    """Dagster does not retry what would fail again."""
    assert issubclass(SkyPilotJobError, dg.Failure)
    assert not SkyPilotJobError("no", "FAILED_PRECHECKS", allow_retries=False).allow_retries
