"""Dagster's packages are released together and break apart."""

import re
import tomllib
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
# Those with 0.x numbers are released with the 1.y of the core: 0.(y + 16).
OF_A_RELEASE = re.compile(r"(?:1\.13|0\.29)\.(\d+)")


def test_one_release_of_every_dagster_package() -> None:
    """Whatever of Dagster is installed is of one release, which each requirement we make allows."""
    installed = {
        found.name: found.version for found in distributions() if found.name.startswith("dagster")
    }
    assert len(installed) >= 8
    releases = {found[1] for v in installed.values() if (found := OF_A_RELEASE.fullmatch(v))}
    assert len(releases) == 1, installed
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    named = [need for need in map(Requirement, lines) if need.name.startswith("dagster")]
    assert len(named) >= 7
    assert [need for need in named if installed[need.name] not in need.specifier] == []
