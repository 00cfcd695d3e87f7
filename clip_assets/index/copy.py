"""Stream one shard's committed parts into Postgres.

What COPY is to read next is made by another thread while Postgres takes what it was given, across
the ends of parts too, so that Postgres never waits. Memory holds a few batches, whatever the shard.
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
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.store import commit as commits
from clip_assets.store import parquet
from clip_assets.store.commit import Commit
from clip_assets.store.objects import Objects

_ROWS_PER_BATCH = 1_000
_THUMBNAILS_PER_BATCH = 250  # much the same in bytes
_AHEAD = 3  # batches; with one, Postgres waits whenever one takes longer than the one before it
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
    """Copy all parts in; returns the checksum of their rows.

    Raises StoreError if a part is not the one that was committed; the caller's transaction then
    takes back what was copied before.
    """
    connection.execute(statement("stage_thumbnails"))
    checksum = 0
    with connection.cursor() as cursor, closing(ahead(_pieces(objects, index, commit))) as pieces:
        for name, same in groupby(pieces, lambda piece: piece.copy):
            with cursor.copy(statement(name, table=index.table)) as copy:
                copy.write(binary.HEADER)
                for piece in same:
                    copy.write(piece.data)
                    checksum ^= piece.checksum
                copy.write(binary.TRAILER)
        cursor.execute(statement("keep_thumbnails"))
    return checksum


def _pieces(objects: Objects, index: Index, commit: Commit) -> Iterator[_Piece]:
    """Part by part, its rows and then its thumbnails."""
    row = 0
    for part in commit.parts:
        with commits.part_on_disk(objects, part) as path:
            where = objects.uri(part.path)
            for batch in parquet.batches(path, where, binary.IMAGE_COLUMNS, _ROWS_PER_BATCH):
                rows = binary.image_rows(commit.shard, row, batch, index.vector_type)
                row += len(batch)
                yield _Piece("copy_rows", rows.data, rows.checksum)
            pictures = binary.THUMBNAIL_COLUMNS
            for batch in parquet.batches(path, where, pictures, _THUMBNAILS_PER_BATCH):
                yield _Piece("copy_thumbnails", binary.thumbnail_rows(batch))


def ahead(items: Iterable[Item]) -> Generator[Item]:
    """The same items, made by another thread while those before them are in use."""
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        upcoming = deque(thread.submit(next, source, _END) for _ in range(_AHEAD))
        while (item := upcoming.popleft().result()) is not _END:
            upcoming.append(thread.submit(next, source, _END))
            yield item
