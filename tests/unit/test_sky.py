"""SkyPilot itself can parse the task files."""

from pathlib import Path

import pytest
import sky
import yaml

SKY = Path(__file__).parents[2] / "sky"


@pytest.mark.parametrize("file", sorted(SKY.glob("*.yaml")), ids=lambda file: file.stem)
def test_skypilot_parses_every_task_file(file: Path) -> None:
    """With its required variables set, every file gives a SkyPilot task."""
    config = yaml.safe_load(file.read_text())
    given = {
        kind: [(name, "x") for name, value in (config.get(kind) or {}).items() if value is None]
        for kind in ("envs", "secrets")
    }
    task = sky.Task.from_yaml_config(
        config, env_overrides=given["envs"], secrets_overrides=given["secrets"]
    )
    assert task.name == file.stem.replace("_", "-")
    assert task.run or (task.service and task.service.pool), "only a pool has nothing to run"


def test_the_service_has_a_readiness_probe() -> None:
    """SkyServe can tell when a replica is ready, and may start up to four."""
    config = yaml.safe_load((SKY / "serve_vectordb.yaml").read_text())
    task = sky.Task.from_yaml_config(config, secrets_overrides=[("DATABASE_URL", "postgres://x")])
    assert task.service
    assert task.service.readiness_path == "/readyz"
    assert task.service.max_replicas == 4


@pytest.mark.parametrize("file", sorted(SKY.glob("*_vector*.yaml")), ids=lambda file: file.stem)
def test_credentials_are_secrets(file: Path) -> None:
    """Credentials are never plain variables, which SkyPilot shows in its logs and dashboard."""
    config = yaml.safe_load(file.read_text())
    keys = {"HF_TOKEN", "DATABASE_URL"}
    assert keys & set(config["secrets"])
    assert not keys & set(config.get("envs") or {})
