"""DuckDB results for other programs: rows as JSON objects, or CSV."""

import csv
from typing import Any, TextIO

from duckdb import DuckDBPyRelation


def rows_of(relation: DuckDBPyRelation) -> list[dict[str, Any]]:
    """The rows, by column name."""
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def write_csv(relation: DuckDBPyRelation, out: TextIO) -> None:
    """A header and the rows."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(relation.columns)
    writer.writerows(relation.fetchall())
