"""A collection's YAML: what is wrong is named where `dg` is asked, and what is right is silent."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_assets.settings import PROJECT
from tests.acceptance.dagster_project import dg, environment, write_project
from tests.conftest import TINY

GOOD: dict[str, Any] = {
    "collection": "photos",
    "source": {"type": "folder", "uri": "/nowhere"},
    "model": {"name": TINY, "untrained_seed": 0},
}
LOAD_STRICTLY = """
import warnings

from dagster_shared.utils import warnings as of_dagster

warnings.filterwarnings("error", category=DeprecationWarning, module="clip_assets")
warnings.filterwarnings("error", category=of_dagster.SupersessionWarning)
warnings.filterwarnings("error", category=of_dagster.BetaWarning)
warnings.filterwarnings("error", category=of_dagster.PreviewWarning)

from clip_assets.definitions import defs

assert defs().assets
"""


def _dg_check(what: str, folder: Path, *collections: dict[str, Any]) -> tuple[int, str]:
    project = write_project(folder / "project", *collections)
    done = subprocess.run(
        dg("check", what), cwd=project, env=environment(folder / "home", "unused"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"shard_sise": 2}, "attributes.shard_sise"),
        ({"model": {"name": TINY, "untraned_seed": 0}}, "untraned_seed"),
    ],
)
def test_misspelt_field_is_named(tmp_path: Path, attributes: dict[str, Any], named: str) -> None:
    """`dg check yaml` fails with the file, the line and the field, at any depth."""
    status, text = _dg_check("yaml", tmp_path, {**GOOD, **attributes})
    assert status == 1
    where = re.search(r"of_photos/defs.yaml:\d+ - clip_assets.ImageCollection (.*)", text)
    assert where, text
    assert named in where.group(1)


def test_collection_that_cannot_be_a_schema_is_refused(tmp_path: Path) -> None:
    """A collection's name that Postgres could not take as a schema is refused with the rule."""
    status, text = _dg_check("defs", tmp_path, {**GOOD, "collection": "My-Photos"})
    assert status == 1
    assert "`My-Photos` cannot name a collection: lower-case letters, digits and _ only" in text


def test_definitions_load_without_a_warning() -> None:
    """Nothing deprecated, superseded, beta or preview is used where the code location loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_STRICTLY],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
