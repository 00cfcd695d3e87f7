"""Erase images from every index of a collection, immediately and permanently.

Rows are deleted, not hidden, so search, views, functions and thumbnails need no filter. A tombstone
remains, and every load of a shard ends by deleting the rows that have one.
"""

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from clip_assets.index import tables
from clip_assets.index.statements import statement
from clip_assets.index.vector_type import SqlVector, VectorType
from clip_assets.judgements import judgements
from clip_assets.postgres.pgvector import SCHEMA
from clip_assets.store.commit import Commit
from clip_assets.store.erased import ErasedImage


def erase(
    connection: psycopg.Connection, collection: str, erasure: str, image_ids: Iterable[str]
) -> None:
    """Delete the images' rows and thumbnails in one transaction, then files with the same bytes.
    Judgements that name them are deleted first.

    Idempotent. Deleting the images takes milliseconds at any index size; finding copies reads whole
    tables and takes longer, so they are deleted afterwards.
    """
    asked = dict.fromkeys(image_ids) | _hashes(connection, collection, [*image_ids])
    _bury(connection, collection, erasure, asked, copies=False)
    copies = _copies(connection, collection, asked)
    if copies:
        _bury(connection, collection, erasure, copies, copies=True)


def known(connection: psycopg.Connection, collection: str, image_ids: Iterable[str]) -> set[str]:
    """The given images that are in any index."""
    return set(_hashes(connection, collection, [*image_ids]))


def revived(
    connection: psycopg.Connection,
    index: tables.Index,
    image_ids: Iterable[str],
    sha256s: Iterable[str],
) -> int:
    """How many rows the index has of these erased images, or of files with these contents."""
    values = {"image_ids": [*image_ids], "sha256s": [*sha256s]}
    counting = statement("count_erased", table=index.table)
    count = connection.cursor(row_factory=scalar_row).execute(counting, values).fetchone()
    return int(count or 0)


def forget(connection: psycopg.Connection, collection: str, among: Mapping[int, SqlVector]) -> None:
    """Delete erased images from these indexes, and their thumbnails, in one transaction."""
    hashes: set[str] = set()
    with connection.transaction():
        for index_id, vectors in among.items():
            names = {"collection": collection, "index_id": index_id}
            forgetting = statement("forget_erased", table=_table(index_id), send=vectors.send)
            gone = connection.cursor(row_factory=scalar_row).execute(forgetting, names)
            hashes.update(filter(None, gone))
        hashes -= _needed_elsewhere(connection, collection, hashes)
        if hashes:
            connection.execute(statement("forget_thumbnails"), {"sha256s": [*hashes]})


def indexes(
    connection: psycopg.Connection, collection: str, *, own: bool = True
) -> dict[int, SqlVector]:
    """All indexes of the collection, live or not, by id; with `own` false, of other collections."""
    key = {"collection": collection, "own": own}
    rows = connection.execute(statement("collection_indexes", vector_schema=SCHEMA), key)
    return {index_id: SqlVector(VectorType(kind), schema) for index_id, kind, schema in rows}


def shut_out_loaders(connection: psycopg.Connection, collection: str, shards: list[str]) -> None:
    """Delete again what a load that began before the tombstones may have restored.

    Any later load of these shards sees the tombstones.
    """
    own = indexes(connection, collection)
    with connection.transaction():
        for index_id in own:
            for shard in sorted(shards):
                key = {"index_id": index_id, "shard": shard}
                connection.execute(statement("lock_shard"), key)
        forget(connection, collection, own)


def move_ledger(
    connection: psycopg.Connection, collection: str, old_path: str, new_path: str, new: Commit
) -> None:
    """Record the rewritten commit as the loaded one; the table already has its rows.

    Earlier releases lost only the erased images, so they remain rollback targets. The live release
    must be judged again.
    """
    with connection.transaction():
        connection.execute(statement("lock_ledger_alone"))
        before = {
            number: tables.content(connection, number) for number in indexes(connection, collection)
        }
        connection.execute(
            statement("move_ledger"),
            {
                "collection": collection,
                "old_path": old_path,
                "new_path": new_path,
                "version": new.version,
                "digest": new.digest,
                "rows": new.rows,
            },
        )
        for index_id, content in before.items():
            after = tables.content(connection, index_id)
            values = {"index_id": index_id, "before": content, "after": after}
            for keep in ("keep_judgement", "keep_releases"):
                connection.execute(statement(keep), values)


def vacuum(connection: psycopg.Connection, collection: str) -> list[str]:
    """Remove dead rows from heap and HNSW of every index; returns the tables.

    INDEX_CLEANUP ON, because by default VACUUM may skip an index with few dead rows.
    """
    names = [tables.table_name(index_id) for index_id in indexes(connection, collection)]
    names.append("thumbnail")
    for name in names:
        connection.execute(
            sql.SQL("VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) clip_assets.{}").format(
                sql.Identifier(name)
            )
        )
    return names


def read(connection: psycopg.Connection, collection: str, erasure: str) -> list[ErasedImage]:
    """The images of this erasure, copies included."""
    key = {"collection": collection, "erasure": erasure}
    images = connection.cursor(row_factory=class_row(ErasedImage))
    return images.execute(statement("tombstones"), key).fetchall()


def remembered(connection: psycopg.Connection, collection: str) -> dict[str, list[str]]:
    """The images of every erasure that this database knows, by erasure."""
    asked = connection.execute(statement("remembered_erasures"), {"collection": collection})
    return dict(asked.fetchall())


def _bury(
    connection: psycopg.Connection,
    collection: str,
    erasure: str,
    images: Mapping[str, str | None],
    *,
    copies: bool,
) -> None:
    """Write tombstones before deleting, because a running load checks them at its end."""
    judgements.forget(connection, collection, images)
    connection.execute(
        statement("write_tombstones"),
        {
            "collection": collection,
            "erasure": erasure,
            "image_ids": [*images],
            "sha256s": [*images.values()],
            "copies": copies,
        },
    )
    forget(connection, collection, indexes(connection, collection))


def _hashes(
    connection: psycopg.Connection, collection: str, image_ids: list[str]
) -> dict[str, str | None]:
    """Content hashes of the given images that are in any index."""
    found: dict[str, str | None] = {}
    for index_id in indexes(connection, collection):
        asked = statement("hashes_of", table=_table(index_id))
        found |= dict(connection.execute(asked, {"image_ids": image_ids}).fetchall())
    return found


def _copies(
    connection: psycopg.Connection, collection: str, asked: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Images with other ids but the same bytes, and their hashes."""
    values = {"sha256s": [h for h in asked.values() if h], "image_ids": [*asked]}
    found: dict[str, str | None] = {}
    for index_id in indexes(connection, collection) if values["sha256s"] else ():
        rows = connection.execute(statement("copies_of", table=_table(index_id)), values)
        found |= dict(rows.fetchall())
    return found


def _needed_elsewhere(
    connection: psycopg.Connection, collection: str, hashes: set[str]
) -> set[str]:
    """Hashes that another collection also has, and whose thumbnails it needs."""
    found: set[str] = set()
    for index_id in indexes(connection, collection, own=False) if hashes else ():
        asked = statement("has_content", table=_table(index_id))
        among = {"sha256s": [*hashes]}
        found.update(connection.cursor(row_factory=scalar_row).execute(asked, among))
    return found


def _table(index_id: int) -> sql.Identifier:
    return sql.Identifier(tables.table_name(index_id))
