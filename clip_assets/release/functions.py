"""The SQL function `search`, with and without conditions on the declared columns.

They are two functions of one name, because an argument cannot be added to a function that users'
own views may depend on.
"""

from importlib.resources import files
from typing import LiteralString

from psycopg import sql

from clip_assets.column import Columns, ColumnType
from clip_assets.index.columns import SQL_TYPES
from clip_assets.postgres.statements import statements
from clip_assets.search.conditions import BUILT_IN, PARTS, column_condition, condition

_statement = statements("clip_assets.release", "columns.sql")


_GIVEN: dict[ColumnType, LiteralString] = {ColumnType.TIMESTAMP: "timestamptz"}
"""The types as which texts are read, where they differ from the column's."""


def search(names: dict[str, sql.Composable]) -> sql.Composed:
    """`search(query, k, …)`, which knows no declared columns."""
    return _function(
        names,
        declared=sql.SQL(""),
        filters=_arguments(BUILT_IN),
        variables=sql.SQL(""),
        required=sql.SQL(""),
        filter=sql.SQL(condition(sql.Identifier)),
    )


def search_columns(names: dict[str, sql.Composable], columns: Columns) -> sql.Composed:
    """`search(query, columns, k, …)`, where `columns` is an object as in the HTTP API."""
    variables = [
        _statement(
            "variables",
            column=sql.Literal(name),
            type=sql.SQL(SQL_TYPES[kind]),
            given=sql.SQL(_GIVEN.get(kind, SQL_TYPES[kind])),
            **{part: sql.Identifier(f"{name}.{part}") for part in PARTS},
        )
        for name, kind in columns.items()
    ]
    conditions = [
        condition(sql.Identifier),
        *(column_condition(*column, sql.Identifier) for column in columns.items()),
    ]
    return _function(
        names,
        declared=sql.SQL("columns jsonb, "),
        filters=_arguments((*BUILT_IN, "columns")),
        variables=sql.SQL("\n").join(variables),
        required=_statement(
            "required",
            names=sql.Literal([*columns]),
            declared=sql.Literal(", ".join(columns) or "none"),
        ),
        filter=sql.SQL("\nAND ").join(map(sql.SQL, conditions)),
    )


def _function(names: dict[str, sql.Composable], **parts: sql.Composable) -> sql.Composed:
    text = files("clip_assets.release").joinpath("search.sql").read_text()
    return sql.SQL(text).format(**names, **parts)


def _arguments(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
