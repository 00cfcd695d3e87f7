"""What a page or a client can be told about a release's declared columns."""

from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row, tuple_row

from clip_assets.column import ColumnType, as_json
from clip_assets.index.columns import table_column
from clip_assets.search.search import Release
from clip_assets.search.statements import statement

MOST_VALUES = 50

Shown = str | int | float | bool | None


@dataclass(frozen=True)
class DeclaredColumn:
    """A declared column; its values are as JSON has them.

    `values` are all values in order if there are at most `MOST_VALUES`, else None; `min` and `max`
    are the bounds of what is known, None of texts and booleans and if nothing is known.
    """

    name: str
    type: ColumnType
    values: tuple[Shown, ...] | None = None
    min: Shown = None
    max: Shown = None


def declared_columns(
    connection: psycopg.Connection, release: Release
) -> tuple[DeclaredColumn, ...]:
    """The declared columns in order, each in the time of a few dozen look-ups in its index."""
    return tuple(_described(connection, release, *column) for column in release.columns.items())


def _described(
    connection: psycopg.Connection, release: Release, name: str, kind: ColumnType
) -> DeclaredColumn:
    names = {
        "table": sql.Identifier(release.table),
        "column": sql.Identifier(table_column(name, kind)),
    }
    low = high = None
    if kind.ordered:
        bounds = connection.cursor(row_factory=tuple_row).execute(
            statement("column_bounds", **names)
        )
        low, high = bounds.fetchone() or (None, None)
    cursor = connection.cursor(row_factory=scalar_row)
    values = cursor.execute(
        statement("column_values", **names), {"limit": MOST_VALUES + 1}
    ).fetchall()
    few = tuple(map(as_json, values)) if len(values) <= MOST_VALUES else None
    return DeclaredColumn(name, kind, few, as_json(low), as_json(high))
