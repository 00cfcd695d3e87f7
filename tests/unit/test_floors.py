"""No version that we install has a known vulnerability that a later version fixes."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
FLOORS = {
    "pillow": "12.3",  # FITS bomb, CVE-2026-40192; GD bypass, CVE-2026-55380
    "python-multipart": "0.0.27",  # CVE-2026-40347, CVE-2026-42561
    "starlette": "0.49.1",  # ranges, CVE-2025-62727
    "pyarrow": "14.0.1",  # CVE-2023-47248
    "dagster": "1.13.27",
}


@pytest.mark.parametrize("name", FLOORS)
def test_what_is_installed_and_what_is_fixed_is_above_the_floor(name: str) -> None:
    """Both, because an installation without the constraints could have another one."""
    fixed = re.search(rf"^{name}==(\S+)", CONSTRAINTS.read_text(), re.M)
    assert fixed
    assert Version(version(name)) >= Version(FLOORS[name])
    assert Version(fixed[1]) >= Version(FLOORS[name])


def test_every_constraint_is_one_version() -> None:
    """Nothing floats, so an audit of the file is one of what is installed."""
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and line[0] != "#"]
    assert lines
    assert [line for line in lines if not re.match(r"[\w.\[\]-]+==[\w.+]+($|[ ;#])", line)] == []
