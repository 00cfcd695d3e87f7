"""Dagster's packages are released together and break apart."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

PROJECT = Path(__file__).parents[2]

# Those with 0.x numbers are released with the 1.y of the core: 0.(y + 16).
OF_A_RELEASE = re.compile(r"(?:1\.13|0\.29)\.27")


def test_one_release_of_every_dagster_package() -> None:
    """Whatever of Dagster is installed is of one release, and every one we name is pinned to it."""
    installed = {
        found.name: found.version for found in distributions() if found.name.startswith("dagster")
    }
    assert len(installed) >= 8
    assert {n: v for n, v in installed.items() if not OF_A_RELEASE.fullmatch(v)} == {}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = [name for name in project["dependencies"] if name.startswith("dagster")]
    assert named == [
        f"{name}=={installed[name]}" for name in re.findall(r"dagster[a-z-]*", str(named))
    ]
