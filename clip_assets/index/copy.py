"""Stream one shard's committed parts into Postgres.

Another thread prepares the next batches, also those of the next part, while Postgres reads the
current one, so Postgres does not wait. Memory holds a few batches, whatever the shard's size.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import psycopg

from clip_assets.index import binary
from clip_assets.index.columns import names
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_ROWS_PER_BATCH = 1_000
_THUMBNAILS_PER_BATCH = 250  # about the same in bytes
_AHEAD = 3  # batches; with only one, Postgres waits whenever a batch takes longer than the last
_END = None

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Piece:
    """Rows for one of the COPY statements, by its name."""

    copy: str
    data: memoryview
    checksum: int = 0


def copy_shard(
    connection: psycopg.Connection, objects: Objects, index: Index, commit: Commit
) -> int:
    """Copy all parts; returns the checksum of their rows.

    Raises StoreError if a part is not the one that was committed; the caller's transaction then
    rolls back what was already copied.
    """
    connection.execute(statement("stage_thumbnails"))
    checksum = 0
    with connection.cursor() as cursor, closing(ahead(_pieces(objects, index, commit))) as pieces:
        for name, same in groupby(pieces, lambda piece: piece.copy):
            into = statement(name, table=index.table, columns=names(index.columns))
            with cursor.copy(into) as copy:
                copy.write(binary.HEADER)
                for piece in same:
                    copy.write(piece.data)
                    checksum ^= piece.checksum
                copy.write(binary.TRAILER)
        cursor.execute(statement("keep_thumbnails"))
    return checksum


def _pieces(objects: Objects, index: Index, commit: Commit) -> Iterator[_Piece]:
    """For each part, its rows, then its thumbnails."""
    row = 0
    for part in commit.parts:
        with commits.part_on_disk(objects, part) as path:
            where = objects.uri(part.path)
            columns = [*binary.IMAGE_COLUMNS, *index.columns]  # an older part lacks some
            for batch in parquet.batches(path, where, columns, _ROWS_PER_BATCH):
                rows = binary.image_rows(commit.shard, row, batch, index.vector_type, index.columns)
                row += len(batch)
                yield _Piece("copy_rows", rows.data, rows.checksum)
            pictures = binary.THUMBNAIL_COLUMNS
            for batch in parquet.batches(path, where, pictures, _THUMBNAILS_PER_BATCH):
                yield _Piece("copy_thumbnails", binary.thumbnail_rows(batch))


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """The same items, prepared in another thread while the caller uses the previous ones."""
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        upcoming = deque(thread.submit(next, source, _END) for _ in range(_AHEAD))
        while (item := upcoming.popleft().result()) is not _END:
            upcoming.append(thread.submit(next, source, _END))
            yield item
