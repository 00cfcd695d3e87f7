"""The README's examples, as written but for the address of the messages."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from clip_assets import dagster_skypilot
from clip_assets.dagster_skypilot import PipesSkyPilotClient
from tests.unit.dagster_skypilot.conftest import ManagedJobs

README = (Path(dagster_skypilot.__file__).parent / "README.md").read_text()
ASSET, PROGRAM, EARLIER = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TRAIN = "def train(epochs):\n    return 1 / epochs\n\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `train.yaml` is, whose program is the README's."""
    (tmp_path / "train.py").write_text(TRAIN + PROGRAM)
    task = {"name": "train", "run": f"python {tmp_path / 'train.py'}"}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(task))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return tmp_path


def test_usage(managed: ManagedJobs, instance: dg.DagsterInstance, folder: Path) -> None:
    """The asset runs the program as a job and has its loss; the secret reaches the job."""
    assert "s3://bucket/pipes" in ASSET
    text = ASSET.replace('"s3://bucket/pipes"', f'"{folder / "messages"}", poll_seconds=0.05')
    names: dict[str, Any] = {}
    exec(text, names)
    job = names["defs"].resolve_implicit_global_asset_job_def()
    (made,) = job.execute_in_process(instance=instance).get_asset_materialization_events()
    assert made.materialization.metadata["loss"].value == pytest.approx(1 / 3)
    assert managed.secrets == {"HF_TOKEN": "hf_secret"}
    assert len(names["defs"].sensors or ()) == 1


def test_reports_before_the_job_has_ended(
    managed: ManagedJobs, instance: dg.DagsterInstance, folder: Path
) -> None:
    """The names that the example mentions exist while the job runs."""
    used = re.findall(r"(job\.\w+(?:\.\w+\(\))?|state\.\w+)", EARLIER.split("...  #")[1])
    assert len(used) >= 3
    body = EARLIER.replace("        ...", f"        seen.append(({', '.join(used[:3])}))")
    body = body.replace('task="train.yaml"', 'task="train.yaml", extras={"epochs": 3}')
    seen: list[object] = []

    @dg.asset
    def model(
        context: dg.AssetExecutionContext, skypilot: PipesSkyPilotClient
    ) -> Iterator[dg.MaterializeResult[Any]]:
        names: dict[str, Any] = {"context": context, "skypilot": skypilot, "seen": seen}
        exec(f"def example():\n{textwrap.indent(body, '    ')}", names)
        yield from names["example"]()

    client = PipesSkyPilotClient(str(folder / "messages"), poll_seconds=0.05)
    done = dg.materialize([model], instance=instance, resources={"skypilot": client})
    (made,) = done.get_asset_materialization_events()
    assert made.materialization.metadata["loss"].value == pytest.approx(1 / 3)
    assert seen
