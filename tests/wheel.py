"""The built wheel, and an environment of its own in which it is installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(os.environ.get("CHECKOUT", Path(__file__).parents[1]))
"""The repository, for tests of its files; the modules under test may be installed elsewhere."""

_DG = "#!{python}\nfrom dagster_dg_cli.cli import main\n\nmain()\n"
_OTHERS = "others.pth"
_PROGRAMS = ("hadolint", "uv")  # of other packages, which the tests look for beside the Python


def built(folder: Path) -> Path:
    """The wheel of the checkout, built in the folder: several may be built at once."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    settings = folder / "setup.cfg"
    settings.write_text(f"[build]\nbuild_base={folder}/build\n[egg_info]\negg_base={folder}\n")
    env = os.environ | {"DIST_EXTRA_CONFIG": str(settings)}
    subprocess.run([*build, "--wheel-dir", str(folder), str(CHECKOUT)], env=env, check=True)
    (built,) = folder.glob("*.whl")
    return built


def shell(python: Path) -> dict[str, str]:
    """Variables of a shell in which that environment is active, and nothing of these tests."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLIP_ASSETS_", "DAGSTER_", "PYTHON", "PYTEST_"))
        and name not in ("DATABASE_URL", "HF_TOKEN")
    }
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return env | {"PATH": path, "VIRTUAL_ENV": str(python.parents[1])}


def environment(folder: Path, wheel: Path) -> Path:
    """Its Python: with the wheel, and with all packages that are installed here but the product."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    pip(python, "--no-deps", "--no-index", str(wheel))
    # A .pth file adds the folder alone, not the finder of an editable installation in it.
    here = Path(sysconfig.get_path("purelib"))
    others = here / _OTHERS  # if this Python is of such an environment itself
    told = others.read_text() if others.exists() else str(here)
    (site_packages(python) / _OTHERS).write_text(told)
    dg = folder / "bin/dg"
    dg.write_text(_DG.format(python=python))
    dg.chmod(0o755)
    for name in _PROGRAMS:
        program = Path(sys.executable).with_name(name)
        if program.exists():
            (folder / "bin" / name).symlink_to(program)
    return python


def site_packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def pip(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, *arguments], check=True)
