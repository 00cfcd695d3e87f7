"""Drop indexes that are neither live nor kept for rollback."""

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

    The live index and the rollback target are always kept. A table that a query or a user's view
    still needs is skipped until the next call. An index that was never released is not a rollback
    target and is not dropped here.
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
    """The live index and the index that a rollback would make live."""
    needed = {search.live(connection, collection).index_id}
    before = previous(connection, collection)
    if before is not None:
        needed.add(published(connection, before).index_id)
    return needed
