"""The SQL files and the code that names their blocks belong together."""

import re
from pathlib import Path

import pytest

from clip_assets import index
from clip_assets.index.statements import _blocks, statement

FOLDER = Path(index.__file__).parent


def test_every_statement_is_used() -> None:
    """No block of queries.sql is left over, and none that the code names is missing."""
    code = "\n".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
    named = set(re.findall(r'(?:statement|_copy_in)\(\s*(?:cursor,\s*)?"(\w+)"', code))
    assert set(_blocks("queries.sql")) <= named


def test_values_are_bound() -> None:
    """The only texts that are formatted into a statement are identifiers and numbers of ours."""
    formatted = set(re.findall(r"\{(\w+)\}", "\n".join(_blocks("queries.sql").values())))
    assert formatted <= {"table", "hnsw", "dim", "m", "ef_construction"}


def test_an_unknown_name() -> None:
    """A misspelt statement fails at once."""
    with pytest.raises(KeyError):
        statement("no_such_statement")
