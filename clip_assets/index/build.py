"""Build the HNSW of an index's table.

Rows are bulk loaded first and indexed afterwards: building from all rows, in memory with several
workers, takes a fraction of the time of inserting them one by one. Once the graph exists, changed
shards are inserted into it, so searches keep working. That suits small updates; `growth` handles
large ones.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.errors import DiskFull
from psycopg.rows import class_row

from clip_assets.errors import DatabaseError
from clip_assets.index import filter_indexes, tables
from clip_assets.index.hnsw import (
    PARALLEL_FROM_ROWS,
    Planned,
    create_statement,
    memory_needed,
)
from clip_assets.index.progress import Report, reported, silent
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.postgres.machine import machine_of

_MEGABYTE = 1 << 20

_SHARED_MEMORY = '"/PostgreSQL.'
"""In the error message, in any language, if a shared-memory file in /dev/shm could not grow."""


@dataclass(frozen=True)
class _Given:
    """What a build may use, by Postgres' settings."""

    memory: str
    workers: str


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the graph, and of Postgres' shared_buffers."""

    graph: int
    buffers: int


def build(
    connection: psycopg.Connection,
    index: Index,
    rows: int,
    report: Report = silent,
    recall: float = 1.0,
) -> bool:
    """Build the HNSW if the table has none; returns whether this call built it.

    `rows` sizes maintenance_work_mem: a graph that does not fit takes several times as long.
    `recall` is the recall@10 that searches must reach; for a lower one, the build is faster.
    `report` is called with lines of progress, from another thread. If the server has too little
    shared memory for parallel workers, one process builds alone.
    Raises DatabaseError if the server's disk is full.
    """
    planned = Planned(rows, recall)
    try:
        try:
            return _build(connection, index, planned, report)
        except DiskFull as error:
            if _SHARED_MEMORY not in str(error):
                raise
            report(
                "HNSW: building with one process instead of several, which takes longer, because "
                f"the server has too little shared memory: {error.diag.message_primary}. In a "
                "container it is 64 MB by default; start it with docker run --shm-size=1g or more"
            )
            return _build(connection, index, planned, report, alone=True)
    except DiskFull as error:
        raise DatabaseError(
            f"Postgres has no space left: {error.diag.message_primary}. Free some on its disk, or "
            "move it to a larger one, then run again; loaded shards are kept."
        ) from error


def _build(
    connection: psycopg.Connection,
    index: Index,
    planned: Planned,
    report: Report,
    *,
    alone: bool = False,
) -> bool:
    filter_indexes.ensure_indexes(connection, index, alone=alone)
    if tables.has_hnsw(connection, index):
        return False
    with connection.transaction():
        connection.execute(statement("lock_build"), {"hnsw": index.hnsw})
        if tables.has_hnsw(connection, index):
            return False
        _use(connection, index, planned.rows, report, alone=alone)
        connection.execute(statement("drop_hnsw", hnsw=sql.Identifier(index.hnsw)))  # if invalid
        report(
            f"building HNSW of {planned.rows:,} rows with ef_construction "
            f"{planned.ef_construction}, for a recall of {planned.recall}"
        )
        with reported(connection, index, report):
            connection.execute(create_statement(index, planned))
    connection.execute(sql.SQL("ANALYZE clip_assets.{}").format(index.table))
    _advise(connection, index, report)
    return True


def _use(
    connection: psycopg.Connection, index: Index, rows: int, report: Report, *, alone: bool
) -> None:
    """Let the build use half the free memory and all processors but one.

    The memory of a remote server is unknown, so there the administrator's settings apply.
    """
    graph = memory_needed(rows, index.identity.dim, index.vector_type)
    needed = max(graph, 64 * _MEGABYTE)
    machine = machine_of(connection)
    if machine:
        memory = min(needed, machine.memory // 2)
        _set(connection, "maintenance_work_mem", f"{memory // _MEGABYTE}MB")
    if alone or rows < PARALLEL_FROM_ROWS:
        _set(connection, "max_parallel_maintenance_workers", "0")
    elif machine:
        _set(connection, "max_parallel_maintenance_workers", str(machine.processors - 1))
        _set(connection, "max_parallel_workers", str(max(8, machine.processors - 1)))
    given = connection.cursor(row_factory=class_row(_Given)).execute(statement("build_settings"))
    has = given.fetchone()
    assert has is not None, "current_setting gives a row"
    report(
        f"HNSW: building with {has.memory} of memory (the graph needs {needed // _MEGABYTE}MB) "
        f"and at most {has.workers} workers"
    )


def _advise(connection: psycopg.Connection, index: Index, report: Report) -> None:
    """Report if the graph is larger than shared_buffers, because searches are then slower."""
    hnsw = {"hnsw": f"clip_assets.{index.hnsw}"}
    sizes = connection.cursor(row_factory=class_row(_Sizes))
    size = sizes.execute(statement("graph_and_buffers"), hnsw).fetchone()
    assert size is not None, "a SELECT of functions gives a row"
    if size.graph > size.buffers:
        report(
            f"HNSW: its {size.graph // _MEGABYTE}MB do not fit in shared_buffers "
            f"({size.buffers // _MEGABYTE}MB); searches are several times faster if they do"
        )


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", [name, value])
