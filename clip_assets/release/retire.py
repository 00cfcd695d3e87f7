"""Drop the indexes that no release needs any more."""

import psycopg
from psycopg.errors import DependentObjectsStillExist
from psycopg.rows import scalar_row

from clip_assets.errors import ReleaseError
from clip_assets.index import tables
from clip_assets.index.locks import patiently
from clip_assets.index.tables import table_name
from clip_assets.release.release import previous, published
from clip_assets.release.statements import statement
from clip_assets.search import search

_PATIENCE_SECONDS = 2.0


def drop_superseded(connection: psycopg.Connection, collection: str, keep: int) -> list[str]:
    """Drop the tables of all but the `keep` indexes released last; returns their names.

    What is live and what a rollback would go back to stays in any case. A table that a query
    still reads, or a view of somebody's own, is left to the next time. An index that was never
    released is nobody's past, and stays.
    """
    key = {"collection": collection, "keep": keep}
    cursor = connection.cursor(row_factory=scalar_row)
    superseded = cursor.execute(statement("superseded_indexes"), key).fetchall()
    dropped = [number for number in superseded if _dropped(connection, collection, number)]
    return [table_name(index_id) for index_id in dropped]


def _dropped(connection: psycopg.Connection, collection: str, index_id: int) -> bool:
    try:
        return patiently(
            connection, collection, lambda: _drop(connection, collection, index_id),
            _PATIENCE_SECONDS,
        )  # fmt: skip
    except (ReleaseError, DependentObjectsStillExist):
        return False


def _drop(connection: psycopg.Connection, collection: str, index_id: int) -> bool:
    if index_id in _needed(connection, collection):
        return False
    connection.execute(statement("mark_dropped"), {"index_id": index_id})
    tables.drop(connection, index_id)
    return True


def _needed(connection: psycopg.Connection, collection: str) -> set[int]:
    """Indexes of what is live and of what a rollback would go back to."""
    needed = {search.live(connection, collection).index_id}
    before = previous(connection, collection)
    if before is not None:
        needed.add(published(connection, before).index_id)
    return needed
