"""What SkyPilot copies to its machines from the folder that the task files name as workdir."""

import shutil
import subprocess
from pathlib import Path

import pytest
from sky.data.storage_utils import get_excluded_files

from tests.wheel import CHECKOUT

CANARY = "HF_TOKEN=w3aver"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as people have it, with secrets and an environment, as a machine receives it."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    for name in (".env", ".env.production", "clip_assets/.env", ".git/config", ".venv/bin/python",
                 ".clip_assets/data/photos/a.parquet"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CANARY)
    for name in get_excluded_files(str(folder)):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)
    return folder


def test_no_secret_is_copied(copied: Path) -> None:
    """Neither an .env file nor the repository, the environment or the data."""
    files = [path for path in copied.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_only_the_package_is_copied(copied: Path) -> None:
    """The package with what builds it, and the files of SkyPilot and Dagster: under 2 MB."""
    assert {path.name for path in copied.iterdir()} == {
        "clip_assets", "serving", "sky", "pyproject.toml", "constraints.txt", "README.md",
        "dagster.yaml", "dagster.postgres.yaml", "workspace.yaml",
    }  # fmt: skip
    sizes = [path.stat().st_size for path in copied.rglob("*") if path.is_file()]
    assert sum(sizes) < 2_000_000
    assert (copied / "clip_assets/node/install.sh").exists()
