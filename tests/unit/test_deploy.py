"""The files of deploy/ as far as they can be checked without Docker, a cluster or Dagster+."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import compose_spec
import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster_cloud_cli.config.models import Build

from clip_assets.errors import SettingsError
from clip_assets.resources import resources_of
from clip_assets.settings import Settings
from tests.wheel import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def test_the_dockerfile_passes_hadolint() -> None:
    """Nothing is ignored but pinned versions of Debian's packages."""
    hadolint = str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run(
        [hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_image_gets_what_it_copies() -> None:
    """Every file that the Dockerfile copies from the checkout exists and is not ignored."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert names == {line[1:] for line in ignored if line.startswith("!")}
    assert [name for name in names if not (CHECKOUT / name).exists()] == []


def test_every_target_runs_without_root() -> None:
    """The last user of each final stage is a number, which Kubernetes can check."""
    for target in ("cuda", "cpu"):
        stage = DOCKERFILE.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert re.findall(r"^USER (.+)$", stage, re.MULTILINE)[-1] == "10001"


def test_compose_understands_the_services() -> None:
    """The file is valid, and each container that runs our code gets the same settings."""
    text = re.sub(r"\$\{(\w+)[^}]*\}", r"\1", (DEPLOY / "compose.yaml").read_text())
    document = yaml.safe_load(text)  # the library knows no merge keys
    found = compose_spec.PyCompose.from_yaml(yaml.safe_dump(document, sort_keys=False))
    assert {*found.service_names()} >= {
        "postgres",
        "store",
        "code",
        "webserver",
        "daemon",
        "search",
    }
    ours = [one for one in document["services"].values() if one["image"] == "clip-assets:local"]
    assert len(ours) == 5
    assert all(one["environment"] == ours[0]["environment"] for one in ours)
    for service in document["services"].values():
        for volume in service.get("volumes", ()):
            host = volume.split(":")[0]
            assert not host.startswith(".") or (DEPLOY / host).exists()


@pytest.mark.parametrize(
    "resource",
    [*yaml.safe_load_all((DEPLOY / "search.yaml").read_text())],
    ids=lambda resource: str(resource["kind"]),
)
def test_kubernetes_accepts_the_resource(resource: dict[str, object]) -> None:
    """Strictly: a misspelt field is an error."""
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_dagster_plus_accepts_the_build() -> None:
    """`build.yaml` has the fields that Dagster+ knows."""
    assert Build(**yaml.safe_load((DEPLOY / "build.yaml").read_text())).registry


@pytest.mark.parametrize(
    "platform",
    ["KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4", "DAGSTER_CLOUD_DEPLOYMENT_NAME"],
)
def test_what_needs_a_shared_disk_is_refused_where_there_is_none(
    platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The code location does not load there until both settings are made, or the disk is shared."""
    monkeypatch.setenv(platform, "x")
    local = {"DATABASE_URL": "postgresql://db/images", "CLIP_ASSETS_DATA": "/mnt/data"}
    for given in ({}, {"DATABASE_URL": local["DATABASE_URL"]}, local):
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match="set DATABASE_URL to a Postgres and CLIP_ASSETS_"):
            resources_of(tmp_path)
    with monkeypatch.context() as shared:
        shared.setenv("CLIP_ASSETS_SHARED_DISK", "true")
        Settings().require_reachable()
    monkeypatch.setenv("CLIP_ASSETS_DATA", "s3://bucket/clip")
    assert resources_of(tmp_path)


def test_the_image_can_be_tried_without_docker() -> None:
    """`try_image.py` knows every instruction of the Dockerfile, and which stages a target needs."""
    script = runpy.run_path(str(DEPLOY / "try_image.py"))
    found = script["stages"](DOCKERFILE)
    used = {instruction for stage in found.values() for instruction, _ in stage.steps}
    assert used <= {"ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "CMD"}
    for target in ("cpu", "cuda"):
        names = set(script["needed"](found, target))
        assert names == {"project", "build", f"packages-{target}", "runtime", target}
        assert script["folder_of"](found, target) == "/project"
        assert script["environment"](found, target)["PATH"].startswith("/opt/venv/bin:/")


def test_dagster_accepts_the_instance_of_the_helm_values(tmp_path: Path) -> None:
    """What the values add to the chart's dagster.yaml limits the pools; the chart then configures
    no coordinator, which Dagster would refuse beside it."""
    values = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    assert values["dagsterDaemon"]["runCoordinator"]["enabled"] is False
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(values["additionalInstanceConfig"]))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        concurrency = instance.get_concurrency_config()
    assert concurrency.pool_config.default_pool_limit == 1
    assert concurrency.run_queue_config
    assert concurrency.run_queue_config.max_concurrent_runs == 10


def test_kubernetes_accepts_the_pods_of_the_helm_values() -> None:
    """What the chart copies into the pods of runs and of the code location, strictly."""
    values = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    (location,) = values["dagster-user-deployments"]["deployments"]
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    settings = {
        "env": location["env"],
        "envFrom": [{"secretRef": secret} for secret in location["envSecrets"]],
    }
    containers = [{"resources": location["resources"]}, run["containerConfig"]]
    for container, pod in zip(containers, ({}, run["podSpecConfig"]), strict=True):
        named = {"name": "dagster", "image": "x", **settings, **container}
        resource = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "dagster"},
            "spec": {**pod, "containers": [named]},
        }
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_the_code_location_has_one_name() -> None:
    """In the workspace, in the server that loads it and in the project; Dagster warns otherwise."""
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())
    name = workspace["load_from"][0]["grpc_server"]["location_name"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    values = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    (location,) = values["dagster-user-deployments"]["deployments"]
    assert location["name"] == name
    assert location["dagsterApiGrpcArgs"][-2:] == ["--location-name", name]
    assert compose["services"]["code"]["command"].endswith(f"--location-name {name}")
