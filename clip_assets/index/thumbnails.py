"""Delete thumbnails that no row uses any more.

Replaced shards and dropped indexes leave thumbnails behind, which could still be fetched by hash.
All tables are read without a lock; then loads are blocked briefly to read what they have added.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable, UndefinedTable
from psycopg.rows import class_row, scalar_row

from clip_assets.index.locks import LOCK_TIMEOUT
from clip_assets.index.statements import statement
from clip_assets.index.tables import table_name

_AT_ONCE = 5_000


@dataclass(frozen=True, order=True)
class Loaded:
    """A shard that is loaded, and the transaction that wrote its ledger row."""

    index_id: int
    shard: str
    transaction: str


def drop_unneeded(connection: psycopg.Connection) -> int:
    """Delete the thumbnails that no row of any index has; returns how many.

    Thumbnails that a running load may need are kept until the next call.
    """
    try:
        before = _loaded(connection)
        hashes = _of_no_row(connection)
        some = (hashes[first : first + _AT_ONCE] for first in range(0, len(hashes), _AT_ONCE))
        return sum(_drop(connection, these, before) for these in some)
    except (LockNotAvailable, UndefinedTable):  # a load is running, or an index was just dropped
        return 0


def _drop(connection: psycopg.Connection, hashes: list[str], before: set[Loaded]) -> int:
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        connection.execute(statement("lock_thumbnails"))
        needed: set[str] = set()
        new = sorted(_loaded(connection) - before)
        for index_id, rows in groupby(new, attrgetter("index_id")):
            asked = statement("hashes_among", table=sql.Identifier(table_name(index_id)))
            values = {"shards": [row.shard for row in rows], "sha256s": hashes}
            needed.update(connection.cursor(row_factory=scalar_row).execute(asked, values))
        gone = [sha256 for sha256 in hashes if sha256 not in needed]
        return connection.execute(statement("forget_thumbnails"), {"sha256s": gone}).rowcount


def _loaded(connection: psycopg.Connection) -> set[Loaded]:
    return set(connection.cursor(row_factory=class_row(Loaded)).execute(statement("loaded_shards")))


def _of_no_row(connection: psycopg.Connection) -> list[str]:
    cursor = connection.cursor(row_factory=scalar_row)
    numbers = cursor.execute(statement("tables_of_indexes")).fetchall()
    hashes = sql.SQL(" UNION ALL ").join(
        [
            sql.SQL("SELECT NULL AS sha256 WHERE false"),  # there may be no table
            *(statement("hashes_of_rows", table=sql.Identifier(table_name(n))) for n in numbers),
        ]
    )
    return cursor.execute(statement("thumbnails_of_no_row", hashes=hashes)).fetchall()
