"""The task files are SkyPilot's own: SkyPilot parses them."""

from pathlib import Path

import pytest
import sky
import yaml

SKY = Path(__file__).parents[2] / "sky"


@pytest.mark.parametrize("file", sorted(SKY.glob("*.yaml")), ids=lambda file: file.stem)
def test_skypilot_parses(file: Path) -> None:
    """Every task file makes a SkyPilot task once its required variables are given."""
    config = yaml.safe_load(file.read_text())
    given = {
        kind: [(name, "x") for name, value in (config.get(kind) or {}).items() if value is None]
        for kind in ("envs", "secrets")
    }
    task = sky.Task.from_yaml_config(
        config, env_overrides=given["envs"], secrets_overrides=given["secrets"]
    )
    assert task.name == file.stem.replace("_", "-")
    assert task.run or (task.service and task.service.pool), "only a pool waits for jobs"


def test_serving_has_a_probe_and_a_port() -> None:
    """SkyServe knows when a replica is ready, and where."""
    config = yaml.safe_load((SKY / "serve_vectordb.yaml").read_text())
    task = sky.Task.from_yaml_config(config, secrets_overrides=[("DATABASE_URL", "postgres://x")])
    assert task.service
    assert task.service.readiness_path == "/readyz"
    assert task.service.max_replicas == 4


@pytest.mark.parametrize("file", sorted(SKY.glob("*_vector*.yaml")), ids=lambda file: file.stem)
def test_keys_are_secrets(file: Path) -> None:
    """What opens a door is never a plain variable, which SkyPilot would show."""
    config = yaml.safe_load(file.read_text())
    keys = {"HF_TOKEN", "DATABASE_URL"}
    assert keys & set(config["secrets"])
    assert not keys & set(config.get("envs") or {})
