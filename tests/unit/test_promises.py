"""docs/promises.md is what a run of the tests wrote."""

import re
from pathlib import Path

from tests.promises import PAGE, marked, rows_of, written

ROOT = Path(__file__).parent.parent.parent


def test_the_page_names_tests_that_exist_and_all_of_them() -> None:
    """Each row has a test whose marker has this promise, and no marker is missing."""
    page = PAGE.read_text()
    assert sorted((row.test, row.promise) for row in rows_of(page)) == sorted(marked())
    assert written(page, []) == page


def test_each_promise_of_the_readme_has_a_test() -> None:
    """Each bold sentence of `What it promises` is a promise in docs/promises.md."""
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## What it promises")[1].split("\n## ")[0]
    promised = {told.strip(".,") for told in re.findall(r"^- \*\*(.+?)\*\*", section, re.M)}
    assert promised
    assert promised <= {promise for _, promise in marked()}
