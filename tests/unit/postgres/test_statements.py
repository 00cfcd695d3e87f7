"""The SQL files and the code that names their blocks belong together."""

import re
from importlib.resources import files

import pytest

from clip_assets.index.statements import statement
from clip_assets.postgres.statements import blocks
from clip_assets.search.conditions import Conditions

ROOMS = {
    "index": ("statements.sql", "erasure.sql"),
    "judge": ("statements.sql",),
    "judgements": ("statements.sql",),
    "release": ("statements.sql",),
    "search": ("statements.sql",),
    "snapshot": ("statements.sql",),
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_statement_is_used_where_it_stands(room: str) -> None:
    """No block is left over in a room whose code does not name it."""
    folder = files(f"clip_assets.{room}")
    code = "\n".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".py"))
    named = set(re.findall(r'"(\w+)"', code))
    assert {name for file in ROOMS[room] for name in blocks(f"clip_assets.{room}", file)} <= named


def test_values_are_bound() -> None:
    """The only texts that are formatted into a statement are identifiers and numbers of ours."""
    bodies = [
        body
        for room, names in ROOMS.items()
        for file in names
        for body in blocks(f"clip_assets.{room}", file).values()
    ]
    formatted = set(re.findall(r"\{(\w+)\}", "\n".join(bodies)))
    numbers = {"dim", "index_id", "first"}
    of_the_type = {"vector_type", "vector_schema", "distance", "send"}
    # composed of statements of ours
    parts = {"nearest", "filter", "bucket", "hashes", "definitions", *Conditions.model_fields}
    parts |= {"any", "min", "max", "unknown"}  # names of the parameters of a column's filter
    of_the_type |= {"type"}
    names = {"table", "hnsw", "into", "columns", "column", "collection"}
    assert formatted <= {*names, *of_the_type, *numbers, *parts}


def test_an_unknown_name() -> None:
    """A misspelt statement fails at once."""
    with pytest.raises(KeyError):
        statement("no_such_statement")
