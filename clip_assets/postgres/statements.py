"""Named statements: a package keeps its SQL in `.sql` files, as named blocks."""

import re
from collections import ChainMap
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from psycopg import sql

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

Statement = Callable[..., sql.Composed]
"""Takes a block's name and {identifiers}, returns the statement; values are bound later."""


@cache
def blocks(package: str, file: str) -> dict[str, str]:
    """The blocks of one file, by name."""
    text = files(package).joinpath(file).read_text()
    _, *pairs = _NAME.split(text)
    return {name: body.strip() for name, body in zip(pairs[::2], pairs[1::2], strict=True)}


def statements(package: str, *names: str) -> Statement:
    """A lookup in the package's files `names`; it raises KeyError for an unknown statement."""

    def statement(name: str, **identifiers: sql.Composable) -> sql.Composed:
        found = ChainMap(*(blocks(package, file) for file in names))
        return sql.SQL(found[name]).format(**identifiers)

    return statement
