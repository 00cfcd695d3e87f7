"""Every run worker imports the code location; it must stay light."""

import re
import subprocess
import sys

import pytest

from tests.wheel import CHECKOUT

ROOMS = ("clip_assets", "serving", "tests", "benchmarks")


def test_code_location_is_light() -> None:
    """Loading all definitions imports none of torch, open_clip, sky and matplotlib."""
    script = (
        "import sys; from clip_assets.definitions import defs; defs(); "
        "print([m for m in ('torch', 'open_clip', 'sky', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_dagster_internals_are_used_in_one_file() -> None:
    """Only files named `dagster_private` import what Dagster does not promise to keep."""
    files = [file for room in ROOMS for file in (CHECKOUT / room).rglob("*.py")]
    users = [file.name for file in files if re.search(r"\bdagster\._", file.read_text())]
    assert users == ["dagster_private.py"] * 3


@pytest.mark.parametrize(
    ("imported", "unneeded"),
    [
        ("clip_assets.cli.app", "dagster torch sky psycopg pyarrow numpy duckdb obstore yaml"),
        ("clip_assets.cli.status", "dagster torch open_clip sky duckdb matplotlib PIL fastapi"),
    ],
)
def test_the_command_line_is_light(imported: str, unneeded: str) -> None:
    """A command loads what it needs and no more: `--help` and `status` answer at once."""
    script = (
        f"import sys, {imported}; "
        f"print([module for module in {unneeded.split()} if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_sky_folder_holds_yaml_only() -> None:
    """A Python file in sky/ would shadow SkyPilot's own package."""
    assert not list((CHECKOUT / "sky").rglob("*.py"))
