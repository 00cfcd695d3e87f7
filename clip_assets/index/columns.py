"""How an index's table names the declared columns.

A table column is named after the declared column and its type, so a changed type makes another
table column: the live release uses the old one until the next release is published.
"""

from typing import LiteralString

from psycopg import sql

from clip_assets.column import Columns, ColumnType

SQL_TYPES: dict[ColumnType, LiteralString] = {
    ColumnType.TEXT: "text",
    ColumnType.BIGINT: "bigint",
    ColumnType.DOUBLE: "double precision",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TIMESTAMP: "timestamp",
    ColumnType.DATE: "date",
}


def table_column(name: str, kind: ColumnType) -> str:
    """Name of the table column."""
    return f"column_{name}_{kind}"


def names(columns: Columns) -> sql.Composed:
    """The table columns, each after a comma."""
    found = (sql.Identifier(table_column(*column)) for column in columns.items())
    return sql.SQL("").join(sql.SQL(", {}").format(name) for name in found)


def definitions(columns: Columns) -> sql.Composed:
    """The clauses of ALTER TABLE that add the missing columns."""
    return sql.SQL(", ").join(
        sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(
            sql.Identifier(table_column(name, kind)), sql.SQL(SQL_TYPES[kind])
        )
        for name, kind in columns.items()
    )


def as_object(columns: Columns, table: LiteralString = "t") -> sql.Composable:
    """The columns of a row as one JSON object, or NULL if none is declared."""
    if not columns:
        return sql.SQL("NULL::jsonb")
    pairs = (
        sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(table, table_column(name, kind)))
        for name, kind in columns.items()
    )
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))
