"""What machines get from an installed package, where there is no checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import sky

from clip_assets.compute.skypilot.workdir import bucket_name, write_files
from tests.wheel import CHECKOUT

USE = """
import sys
from pathlib import Path
from clip_assets.compute.skypilot import task
from clip_assets.compute.skypilot.config import SkyPilotConfig
from clip_assets.compute.skypilot.workdir import write_files

first, again = (task.document(SkyPilotConfig())["workdir"] for _ in range(2))
assert first == again
print(first)
write_files(Path("clip-sky"))
"""


@pytest.fixture(scope="module")
def used(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the installed package wrote its task files; `workdir` links to what
    Dagster's jobs copy."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    _pip("install", "--no-deps", "--target", site, wheel)
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(site), "CLIP_ASSETS_HOME": str(folder / "home")},
    )  # fmt: skip
    (folder / "workdir").symlink_to(done.stdout.strip())
    return folder


@pytest.mark.parametrize("sent", ["workdir", "clip-sky"])
def test_a_machine_gets_the_wheel_and_what_installs_it(wheel: Path, used: Path, sent: str) -> None:
    """Nothing else of the user's machine, and the same files as in the wheel that was installed."""
    root = (used / sent).resolve()
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    tasks = {file.name for file in (CHECKOUT / "sky").glob("*.yaml")}
    expected = {wheel.name, "clip_assets/node/install.sh", "constraints.txt"}
    assert files == (expected | tasks if sent == "clip-sky" else expected)
    assert (root / "constraints.txt").read_text() == (CHECKOUT / "constraints.txt").read_text()
    with ZipFile(used / sent / wheel.name) as packed, ZipFile(wheel) as built:
        assert sorted(packed.namelist()) == sorted(built.namelist())
        assert packed.testzip() is None
        assert "clip_assets/sky_tasks/compute_vectors.yaml" in packed.namelist()


def test_the_wheel_can_be_installed(used: Path, tmp_path: Path) -> None:
    """By pip, which verifies its record."""
    sent = next((used / "workdir").glob("*.whl"))
    _pip("install", "--no-deps", "--target", tmp_path, sent)
    assert (tmp_path / "clip_assets/node/embed.py").is_file()


def test_with_a_bucket_no_variable_is_required(tmp_path: Path) -> None:
    """SkyPilot parses each file as it is; all mount one new bucket, and the data is in it."""
    bucket = bucket_name("Ada.Lovelace")
    assert bucket.startswith("clip-assets-ada-lovelace-")
    assert bucket != bucket_name("Ada.Lovelace")
    written = write_files(tmp_path / "clip-sky", bucket)
    tasks = {file.stem: sky.Task.from_yaml(str(file)) for file in written}
    assert set(tasks) == {"compute_vectors", "build_vectordb", "serve_vectordb", "pool"}
    for task in tasks.values():
        assert {path: store.name for path, store in task.storage_mounts.items()} == {
            "/clip": bucket
        }
    data = [tasks[name].envs["DATA"] for name in ("compute_vectors", "build_vectordb")]
    assert data == ["/clip", "/clip"]
    assert tasks["build_vectordb"].envs["COLLECTION"] == tasks["compute_vectors"].envs["COLLECTION"]
    assert tasks["serve_vectordb"].envs["SNAPSHOT"] == "/clip/imagenet/snapshots"


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(command, check=True, capture_output=True)
