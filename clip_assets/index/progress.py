"""Progress of loading and building an index, read from Postgres on another connection."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg.rows import args_row

from clip_assets.errors import DatabaseError
from clip_assets.index import tables
from clip_assets.index.hnsw import BUILD_PHASE
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.index.vector_type import VectorType
from clip_assets.postgres.connect import another_connection

Report = Callable[[str], None]


def silent(line: str) -> None:
    """A `Report` that discards its lines."""


_POLL_SECONDS = 1.0
_LINE_SECONDS = 5.0
_LINE_SHARE = 0.05


@dataclass(frozen=True)
class Step:
    """The current step, and `done` of `total` shards or blocks; None if the total is unknown."""

    doing: str
    done: int = 0
    total: int | None = None

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 0.0


def step(
    connection: psycopg.Connection,
    collection: str,
    slug: str,
    vector_type: VectorType,
    shards: int,
) -> Step:
    """The current step of a running `search_index`; the collection has `shards` shards."""
    try:
        index = tables.find(connection, collection, slug, vector_type)
    except DatabaseError:
        return Step("loading shards", 0, shards)
    loaded = len(tables.ledger(connection, index))
    if loaded < shards:
        return Step("loading shards", loaded, shards)
    return build(connection, index) or Step("measuring recall")


def build(connection: psycopg.Connection, index: Index) -> Step | None:
    """Progress of the graph build on the index's table, or None if none is running."""
    table = f"clip_assets.{tables.table_name(index.index_id)}"
    steps = connection.cursor(row_factory=args_row(partial(Step, "building HNSW")))
    asked = {"table": table, "phase": BUILD_PHASE}
    return steps.execute(statement("build_progress"), asked).fetchone()


@contextmanager
def reported(connection: psycopg.Connection, index: Index, report: Report) -> Iterator[None]:
    """Report a line for every 5 % of the build, at most one every 5 s."""
    done = threading.Event()

    def watch() -> None:
        said_at, said = 0.0, -1.0
        with another_connection(connection) as own:
            while not done.wait(_POLL_SECONDS):
                now = build(own, index)
                due = time.monotonic() - said_at >= _LINE_SECONDS
                if now and due and now.share - said >= _LINE_SHARE:
                    said_at, said = time.monotonic(), now.share
                    report(f"{now.doing}, {now.share:.0%} of {now.total} blocks")

    thread = threading.Thread(target=watch, name="hnsw-progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
