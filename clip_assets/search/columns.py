"""A release's declared columns with their values or bounds, for pages and clients."""

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
    """A declared column, with values as in JSON.

    `values` are all values in order if there are at most `MOST_VALUES`, else None; `min` and `max`
    are the bounds of the known values; None for texts and booleans, and if no value is known.
    """

    name: str
    type: ColumnType
    values: tuple[Shown, ...] | None = None
    min: Shown = None
    max: Shown = None


def declared_columns(
    connection: psycopg.Connection, release: Release
) -> tuple[DeclaredColumn, ...]:
    """The declared columns in order; each takes a few dozen look-ups in its index."""
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
