"""The named statements of the `.sql` files."""

import re
from collections import ChainMap
from functools import cache
from importlib.resources import files

from psycopg import sql

FILES = ("queries.sql", "snapshot.sql", "erasure.sql")
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def _blocks(file: str) -> dict[str, str]:
    text = files("clip_assets.index").joinpath(file).read_text()
    _, *pairs = _NAME.split(text)
    return {name: body.strip() for name, body in zip(pairs[::2], pairs[1::2], strict=True)}


def statement(name: str, **identifiers: sql.Composable) -> sql.Composed:
    """The statement called `name`, its {identifiers} filled in; values stay to be bound."""
    return sql.SQL(ChainMap(*map(_blocks, FILES))[name]).format(**identifiers)


def publish_script(**identifiers: sql.Composable) -> sql.Composed:
    """The statements that make a release the one that SQL sees."""
    text = files("clip_assets.index").joinpath("publish.sql").read_text()
    return sql.SQL(text).format(**identifiers)
