"""`dagster_skypilot` with SkyPilot itself, as somebody without images uses it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from clip_assets.dagster_skypilot import JOB_TAG, PipesSkyPilotClient, jobs
from tests.skypilot.command_line import PROJECT

RESOURCES = {"infra": "slurm/cluster", "cpus": 1, "memory": 1}
PROGRAM = """
import os
from dagster_pipes import open_dagster_pipes
from clip_assets.dagster_skypilot.messages import PipesObjectStoreMessageWriter

with open_dagster_pipes(message_writer=PipesObjectStoreMessageWriter()) as pipes:
    pipes.report_custom_message("half")
    pipes.report_asset_materialization(
        metadata={"rows": pipes.get_extra("rows"), "token": len(os.environ["TOKEN"])}
    )
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_an_asset_is_made_by_a_managed_job(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """What its program reports, and what the job cost, is on the materialization."""
    (tmp_path / "program.py").write_text(PROGRAM)
    client = PipesSkyPilotClient(str(tmp_path / "messages"), poll_seconds=2)
    run = f"cd {PROJECT} && PYTHONPATH=. {sys.executable} {tmp_path / 'program.py'}"
    task = {"name": "trained", "run": run, "resources": RESOURCES}

    @dg.asset
    def trained(
        context: dg.AssetExecutionContext, skypilot: PipesSkyPilotClient
    ) -> dg.MaterializeResult[Any]:
        return skypilot.run(
            context=context, task=task, extras={"rows": 3}, secrets={"TOKEN": "canary"}
        ).get_materialize_result()

    result = dg.materialize([trained], instance=instance, resources={"skypilot": client})
    (made,) = result.asset_materializations_for_node("trained")
    values = {key: value.value for key, value in made.metadata.items()}
    assert (values["rows"], values["token"]) == (3, len("canary"))
    assert values["skypilot/dollars"] > 0
    done = instance.get_run_by_id(result.run_id)
    assert done
    job = jobs.state(int(done.tags[JOB_TAG]))
    assert (job.id, job.status) == (values["skypilot/job"], "SUCCEEDED")


def test_a_failed_program_is_told_in_one_sentence(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """With SkyPilot's status."""
    client = PipesSkyPilotClient(str(tmp_path / "messages"), poll_seconds=2)
    task = {"name": "broken", "run": "exit 3", "resources": RESOURCES}

    @dg.op
    def broken(context: dg.OpExecutionContext) -> None:
        client.run(context=context, task=task)

    @dg.job
    def breaks() -> None:
        broken()

    result = breaks.execute_in_process(instance=instance, raise_on_error=False)
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data.user_failure_data
    assert data
    assert "ended FAILED: its program failed" in (data.description or "")
