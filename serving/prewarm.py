"""Reads a release's HNSW into Postgres' cache, so that searches need not read it from disk."""

import asyncio
import logging
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from clip_assets.index.tables import hnsw_name
from clip_assets.postgres.statements import statements
from clip_assets.search.search import Release

from .bulkhead import Deadline
from .database import Database
from .errors import Unavailable

logger = logging.getLogger(__name__)

_BLOCKS_AT_ONCE = 8_192
"""64 MB: even with a slow disk, this holds a connection no longer than a search does."""

_statement = statements(__package__, "prewarm.sql")


@dataclass(frozen=True)
class _Graph:
    """The extension's function, the graph's size, and whether it fits into shared_buffers."""

    function: str
    blocks: int
    fits: bool


class Prewarm:
    """Prewarms once for each index, and again after an outage, because a restart empties the cache.

    Does nothing without the extension pg_prewarm or without the right to use it.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long each of the many reads may take."""
        self._seconds = seconds
        self._index_id: int | None = None
        self._reading: asyncio.Task[None] | None = None

    def begin(self, database: Database, release: Release) -> None:
        """Start reading the release's graph in the background, unless it was read before."""
        if release.index_id == self._index_id:
            return
        self.forget()
        self._index_id = release.index_id
        self._reading = asyncio.create_task(self._read(database, release))

    def forget(self) -> None:
        """Stop reading; the next `begin` starts over."""
        self._index_id = None
        if self._reading:
            self._reading.cancel()

    async def _read(self, database: Database, release: Release) -> None:
        hnsw = f"clip_assets.{hnsw_name(release.index_id)}"

        def look(connection: psycopg.Connection) -> _Graph | None:
            cursor = connection.cursor(row_factory=class_row(_Graph))
            return cursor.execute(_statement("graph"), {"hnsw": hnsw}).fetchone()

        try:
            graph = await database.run(look, Deadline.within(self._seconds))
            for first in range(0, graph.blocks if graph else 0, _BLOCKS_AT_ONCE):
                assert graph
                last = min(first + _BLOCKS_AT_ONCE, graph.blocks) - 1
                await self._read_part(database, graph, {"hnsw": hnsw, "first": first, "last": last})
        except (psycopg.Error, Unavailable) as error:
            logger.info("the graph of release %s was not prewarmed: %s", release.id, error)

    async def _read_part(
        self, database: Database, graph: _Graph, part: dict[str, str | int]
    ) -> None:
        # A graph larger than shared_buffers would evict its own pages; read it into the OS cache.
        mode = "buffer" if graph.fits else "read"
        read = _statement("read", function=sql.SQL(graph.function))
        await database.run(
            lambda connection: connection.execute(read, {"mode": mode, **part}),
            Deadline.within(self._seconds),
        )
