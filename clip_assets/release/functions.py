"""The SQL functions that search: `search`, with and without conditions on the declared columns, and
`search_where`, which takes a whole filter.

The first two are two functions of one name, because an argument cannot be added to a function that
users' own views may depend on. The third has a name of its own, because calls that leave the types
of their arguments to Postgres would be ambiguous.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import LiteralString

from psycopg import sql

from clip_assets.column import Columns, ColumnType
from clip_assets.index.columns import SQL_TYPES
from clip_assets.index.hnsw import deepened
from clip_assets.postgres.statements import statements
from clip_assets.search.conditions import BUILT_IN, PARTS, Named, column_condition, condition
from clip_assets.search.filters import Filter

_statement = statements("clip_assets.release", "arguments.sql", "queries.sql")

Names = dict[str, sql.Composable]

_GIVEN: dict[ColumnType, LiteralString] = {ColumnType.TIMESTAMP: "timestamptz"}
"""The types that texts are cast to, where they differ from the column's."""

_FIELDS = [field.alias or name for name, field in Filter.model_fields.items()]


def search(names: Names) -> sql.Composed:
    """`search(query, k, …)`, without declared columns."""
    return _search(
        names,
        declared=sql.SQL(""),
        filters=_arguments(BUILT_IN),
        variables=sql.SQL(""),
        required=sql.SQL(""),
        matching=sql.SQL(condition(sql.Identifier)),
    )


def search_columns(names: Names, columns: Columns) -> sql.Composed:
    """`search(query, columns, k, …)`, where `columns` is an object like in the HTTP API."""
    conditions = [
        condition(sql.Identifier),
        *(column_condition(*column, sql.Identifier) for column in columns.items()),
    ]
    return _search(
        names,
        declared=sql.SQL("columns jsonb, "),
        filters=_arguments((*BUILT_IN, "columns")),
        variables=_variables(columns),
        required=_required(columns),
        matching=sql.SQL("\nAND ").join(map(sql.SQL, conditions)),
    )


def search_where(names: Names, columns: Columns) -> sql.Composed:
    """`search_where(query, filter, k)`, where `filter` is an object like in the HTTP API, and
    `condition(filter)`, which it uses."""
    queries = {
        "filter": sql.SQL("%s"),  # of format()
        "query": sql.SQL("$1"),
        "k": sql.SQL("$2"),
        "fetch": sql.SQL("$2 * {overfetch}").format(**names),
    }
    few = sql.SQL("SELECT {}").format(_statement("few_match", **names, **queries))
    return _function(
        "where.sql",
        names,
        fields=sql.Literal(_FIELDS),
        variables=_variables(columns),
        required=_required(columns),
        sound=_statement("sound"),
        deepened=deepened(names["ef_search"], sql.SQL("k * {overfetch}").format(**names)),
        built_in=sql.Literal(condition(_numbered(BUILT_IN))),
        built_in_values=sql.SQL(", ").join(map(_value, BUILT_IN)),
        column_conditions=sql.SQL("\n").join(
            _statement(
                "condition",
                column=sql.Literal(name),
                condition=sql.Literal(
                    column_condition(name, kind, _numbered([f"{name}.{part}" for part in PARTS]))
                ),
                **_parts(name),
            )
            for name, kind in columns.items()
        ),
        few_match=sql.Literal(few.as_string()),
        exact=sql.Literal(_statement("exact", **names, **queries).as_string()),
        hnsw=sql.Literal(_statement("hnsw", **names, **queries).as_string()),
    )


def _search(names: Names, *, matching: sql.Composable, **parts: sql.Composable) -> sql.Composed:
    fetch = sql.SQL("CASE WHEN filtered THEN k * {overfetch} ELSE k + {spare} END").format(**names)
    queries = {
        "filter": matching,
        "query": sql.SQL("query"),
        "k": sql.SQL("k"),
        "fetch": fetch,
    }
    return _function(
        "search.sql",
        names,
        **parts,
        sound=_statement("sound"),
        deepened=deepened(names["ef_search"], fetch),
        **{way: _statement(way, **names, **queries) for way in ("few_match", "exact", "hnsw")},
    )


def _function(file: str, names: Names, **parts: sql.Composable) -> sql.Composed:
    text = files("clip_assets.release").joinpath(file).read_text()
    return sql.SQL(text).format(**names, **parts)


def _arguments(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _variables(columns: Columns) -> sql.Composed:
    """Declarations of variables for each column, with its conditions in the object `columns`."""
    declared = (
        _statement(
            "variables",
            column=sql.Literal(name),
            type=sql.SQL(SQL_TYPES[kind]),
            given=sql.SQL(_GIVEN.get(kind, SQL_TYPES[kind])),
            **_parts(name),
        )
        for name, kind in columns.items()
    )
    return sql.SQL("\n").join(declared)


def _required(columns: Columns) -> sql.Composed:
    """Refuses an object `columns` that names undeclared columns."""
    declared = sql.Literal(", ".join(columns) or "none")
    return _statement("required", names=sql.Literal([*columns]), declared=declared)


def _parts(column: str) -> dict[str, sql.Composable]:
    """The variables about a column."""
    return {part: sql.Identifier(f"{column}.{part}") for part in PARTS}


def _value(field: str) -> sql.Composable:
    """The value of a field of the object `filter`."""
    if field == "shards":  # a variable: an array of Postgres
        return sql.SQL("shards")
    return sql.SQL("filter->>{}").format(sql.Literal(field))


def _numbered(fields: Sequence[str]) -> Named:
    """Refers to each field by its position among the arguments of format(), which quotes values."""
    places = {field: sql.SQL(f"%{place}$L") for place, field in enumerate(fields, 1)}
    return places.__getitem__
