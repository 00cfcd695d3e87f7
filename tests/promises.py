"""Writes docs/promises.md: what is promised, the test that shows it, and the test's figure.

    make promises

A test names its promise by `@pytest.mark.promise("…")`, and may add a figure of its run with the
fixture `record_property("figure", "…")`. A run with `--promises` writes the rows of its tests, and
keeps those of tests that did not run and still exist.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parent.parent / "docs/promises.md"
HEAD = """# Promises

What clip_assets promises, the test that shows it, and what the test measured in the run that wrote
this page (`make promises`). `make test-faults` runs the tests in `faults`, `make test` all others.
`clip-assets verify` shows it on your own data ([operations.md](operations.md#verify)).

| promise | test | figure |
|---|---|---|
"""
_ROW = re.compile(r"^\| (?P<promise>.+?) \| `(?P<test>[^`]+)` \| (?P<figure>.*?) \|$", re.M)


class Row(NamedTuple):
    """One line of the page; `test` is a node id below tests/."""

    promise: str
    test: str
    figure: str


def rows_of(page: str) -> list[Row]:
    return [Row(**match.groupdict()) for match in _ROW.finditer(page)]


def marked() -> Iterator[tuple[str, str]]:
    """Every test of the source that names a promise, with the promise."""
    marker = re.compile(
        r'@pytest\.mark\.promise\(\s*"(?P<promise>[^"]+)"\s*\)\n'
        r"(?:@.*\n|[ )\]].*\n)*def (?P<name>\w+)"
    )
    tests = PAGE.parent.parent / "tests"
    for file in sorted(tests.rglob("test_*.py")):
        for match in marker.finditer(file.read_text()):
            yield f"{file.relative_to(tests)}::{match['name']}", match["promise"]


def written(page: str, run: list[Row]) -> str:
    """The page with the rows of a run, sorted; those of tests that are gone are left out."""
    known = dict(marked())
    rows = {row.test: row for row in rows_of(page)} | {row.test: row for row in run}
    kept = sorted(row for test, row in rows.items() if known.get(test) == row.promise)
    return HEAD + "".join(f"| {row.promise} | `{row.test}` | {row.figure} |\n" for row in kept)


class Recorder:
    """Collects the promises of the tests that pass; also where pytest-xdist runs them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.cases: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if report.when == "call" and report.passed and "promise" in told:
            test = report.nodeid.partition("[")[0].removeprefix("tests/")
            self.cases[test] += 1
            told.setdefault("figure", f"{self.cases[test]} cases" if self.cases[test] > 1 else "")
            self.rows.append(Row(str(told["promise"]), test, str(told["figure"])))

    def pytest_sessionfinish(self) -> None:
        PAGE.write_text(written(PAGE.read_text() if PAGE.exists() else "", self.rows))


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if config.getoption("--promises") and not is_worker:
        config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark := item.get_closest_marker("promise"):
            item.user_properties.append(("promise", mark.args[0]))
