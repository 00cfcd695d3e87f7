"""The SQL files and the code that names their blocks belong together."""

import re
from pathlib import Path

import pytest

from clip_assets import index
from clip_assets.index.filters import Filter
from clip_assets.index.statements import FILES, _blocks, statement

FOLDER = Path(index.__file__).parent


def test_every_statement_is_used() -> None:
    """No block of the files is left over."""
    code = "\n".join(path.read_text() for path in FOLDER.parent.rglob("*.py"))
    named = set(re.findall(r'"(\w+)"', code))
    assert {name for file in FILES for name in _blocks(file)} <= named


def test_values_are_bound() -> None:
    """The only texts that are formatted into a statement are identifiers and numbers of ours."""
    formatted = set(
        re.findall(r"\{(\w+)\}", "\n".join(b for f in FILES for b in _blocks(f).values()))
    )
    numbers = {"dim", "m", "ef_construction", "index_id", "first"}
    of_the_type = {"vector_type", "cosine_ops", "send"}
    # composed of statements of ours
    parts = {"nearest", "filter", "bucket", "hashes", *Filter.model_fields}
    assert formatted <= {"table", "hnsw", "into", "columns", *of_the_type, *numbers, *parts}


def test_an_unknown_name() -> None:
    """A misspelt statement fails at once."""
    with pytest.raises(KeyError):
        statement("no_such_statement")
