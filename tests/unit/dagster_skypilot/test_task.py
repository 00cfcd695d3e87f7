"""SkyPilot tasks from files, parsed content and SkyPilot's own objects."""

from pathlib import Path

import pytest
import sky
import yaml

from clip_assets.dagster_skypilot import SkyPilotError
from clip_assets.dagster_skypilot.task import AnyTask, build

DOCUMENT = {"name": "train", "run": "true", "setup": "true", "workdir": ".", "envs": {"A": "1"}}


@pytest.fixture(params=["file", "document", "task"])
def task(request: pytest.FixtureRequest, tmp_path: Path) -> AnyTask:
    if request.param == "task":
        return sky.Task.from_yaml_config(dict(DOCUMENT))
    if request.param == "document":
        return DOCUMENT
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(DOCUMENT))
    return tmp_path / "train.yaml"


def test_each_form_takes_variables_and_secrets(task: AnyTask) -> None:
    built = build(task, envs={"B": "2"}, secrets={"TOKEN": "canary"}, pool=None)
    assert built.envs == {"A": "1", "B": "2"}
    assert built.secrets["TOKEN"].get_secret_value() == "canary"
    assert "A" in DOCUMENT["envs"], "what was given is left as it was"


def test_a_job_for_a_pool_has_no_setup() -> None:
    """Workers of a pool are set up already, so their jobs have neither workdir nor setup."""
    built = build(DOCUMENT, envs={}, secrets={}, pool="gpus")
    assert built.setup is None
    assert built.workdir is None


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkyPilotError, match=r"none\.yaml: No such file"):
        build(tmp_path / "none.yaml", envs={}, secrets={}, pool=None)
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump({"run": "true", "resorces": {}}))
    with pytest.raises(SkyPilotError, match=r"SkyPilot cannot read .*broken\.yaml"):
        build(tmp_path / "broken.yaml", envs={}, secrets={}, pool=None)
