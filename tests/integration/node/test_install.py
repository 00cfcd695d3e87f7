"""Setting up a machine that SkyPilot made, whatever Python it has."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import clip_assets

SCRIPT = Path(clip_assets.__path__[0]) / "node/install.sh"
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "clip-assets"
version = "1"
requires-python = ">=3.11"
[project.optional-dependencies]
index = []
"""
BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, info = "clip_assets-1-py3-none-any.whl", "clip_assets-1.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("clip_assets.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: clip-assets\\n"
                       "Version: 1\\nProvides-Extra: index\\nRequires-Python: >=3.11\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n"
                       "Root-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
WHERE = "import clip_assets, sys; print(sys.version_info >= (3, 11), sys.prefix)"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's home folder, with the project beside it: what needs no network to install."""
    project = tmp_path / "sky_workdir"
    (project / "clip_assets/node").mkdir(parents=True)
    shutil.copy(SCRIPT, project / "clip_assets/node")
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "backend.py").write_text(BACKEND)
    (project / "constraints.txt").write_text("")
    (tmp_path / ".local/bin").mkdir(parents=True)
    return tmp_path


def install(home: Path, *path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", home / "sky_workdir/clip_assets/node/install.sh", "index"],
        env={"HOME": str(home), "PATH": ":".join([*path, "/usr/bin", "/bin"]),
             "UV_TORCH_BACKEND": "", "UV_CACHE_DIR": str(home / "cache"), "UV_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def installed(home: Path) -> str:
    return subprocess.run(
        [home / "clip_assets/bin/python", "-c", WHERE],
        cwd="/", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_an_older_python3_does_not_matter(python: str, machine: Path) -> None:
    """uv, which every machine of SkyPilot has, takes another Python than `python3`."""
    older = _python_3_10(machine)
    (machine / ".local/bin/uv").symlink_to(Path(python).with_name("uv"))
    for _ in range(2):  # a machine that is reused is set up again
        done = install(machine, str(older), str(Path(os.path.realpath(python)).parent))
        assert done.returncode == 0, done.stderr
        assert installed(machine) == f"True {machine}/clip_assets"


def test_python3_is_enough_where_there_is_no_uv(python: str, machine: Path) -> None:
    """Then it must be new enough."""
    done = install(machine, str(Path(os.path.realpath(python)).parent))
    assert done.returncode == 0, done.stderr
    assert installed(machine) == f"True {machine}/clip_assets"


def _python_3_10(machine: Path) -> Path:
    """A folder in which `python3` is Python 3.10, or what says so if this machine has none."""
    folder = machine / "older"
    folder.mkdir()
    found = shutil.which("python3.10")
    real = found and subprocess.run(
        [found, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True,
        check=False,
    ).stdout.strip()  # fmt: skip
    if real:
        (folder / "python3").symlink_to(real)
    else:
        (folder / "python3").write_text("#!/bin/sh\necho Python 3.10 >&2; exit 1\n")
        (folder / "python3").chmod(0o755)
    return folder
