"""The table of faults in docs/serving.md names tests that exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs/serving.md"
FEWEST = 30
"""With fewer rows, the pattern no longer fits the table."""


def test_each_fault_has_a_test() -> None:
    """Fails if a test in the table was renamed or deleted."""
    section = PAGE.read_text().split("## Faults\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.fullmatch(r"\| .+ \| .+ \| `(.+)::(.+)` \|", row) for row in rows]
    assert len(rows) >= FEWEST
    assert all(named)
    assert [row[0] for row in named if row and row[2] not in _tests(TESTS / row[1])] == []


def _tests(file: Path) -> set[str]:
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
