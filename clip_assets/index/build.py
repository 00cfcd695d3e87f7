"""Build the HNSW of an index's table.

Bulk load first, index after: a build from all rows, in memory and by several workers, takes a
fraction of what inserting them one by one into a graph on pages does. Once the graph is there, a
shard that changes is inserted live, so that answers go on meanwhile: that suits small updates, and
`growth` sees to the large ones.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from clip_assets.index import filter_indexes, tables
from clip_assets.index.hnsw import PARALLEL_FROM_ROWS, create_statement, memory_needed
from clip_assets.index.progress import Report, reported, silent
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.postgres.machine import machine_of

_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class _Given:
    """What a build may use, as Postgres' settings have it."""

    memory: str
    workers: str


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the graph, and of Postgres' own memory for pages."""

    graph: int
    buffers: int


def build(connection: psycopg.Connection, index: Index, rows: int, report: Report = silent) -> bool:
    """Make the HNSW if the table has none; returns whether it was made now.

    `rows` sizes maintenance_work_mem: a graph that does not fit takes several times as long.
    `report` is given a line of progress now and then, from another thread.
    """
    filter_indexes.ensure_indexes(connection, index)
    if tables.has_hnsw(connection, index):
        return False
    with connection.transaction():
        connection.execute(statement("lock_build"), {"hnsw": index.hnsw})
        if tables.has_hnsw(connection, index):
            return False
        _use(connection, index, rows, report)
        with reported(connection, index, report):
            connection.execute(create_statement(index, rows))
    connection.execute(sql.SQL("ANALYZE clip_assets.{}").format(index.table))
    _advise(connection, index, report)
    return True


def _use(connection: psycopg.Connection, index: Index, rows: int, report: Report) -> None:
    """Let the build have half the free memory and all but one of the processors.

    Of a server elsewhere nothing is known, so it builds with what its administrator set.
    """
    graph = memory_needed(rows, index.identity.dim, index.vector_type)
    needed = max(graph, 64 * _MEGABYTE)
    machine = machine_of(connection)
    if machine:
        memory = min(needed, machine.memory // 2)
        _set(connection, "maintenance_work_mem", f"{memory // _MEGABYTE}MB")
    if rows < PARALLEL_FROM_ROWS:
        _set(connection, "max_parallel_maintenance_workers", "0")
    elif machine:
        _set(connection, "max_parallel_maintenance_workers", str(machine.processors - 1))
        _set(connection, "max_parallel_workers", str(max(8, machine.processors - 1)))
    given = connection.cursor(row_factory=class_row(_Given)).execute(statement("build_settings"))
    has = given.fetchone()
    assert has is not None, "current_setting gives a row"
    report(
        f"HNSW: building with {has.memory} of memory, {needed // _MEGABYTE}MB would hold the "
        f"graph, and at most {has.workers} workers"
    )


def _advise(connection: psycopg.Connection, index: Index, report: Report) -> None:
    """Say so where searches will have to fetch the graph's pages from beyond Postgres' memory."""
    hnsw = {"hnsw": f"clip_assets.{index.hnsw}"}
    sizes = connection.cursor(row_factory=class_row(_Sizes))
    size = sizes.execute(statement("graph_and_buffers"), hnsw).fetchone()
    assert size is not None, "a SELECT of functions gives a row"
    if size.graph > size.buffers:
        report(
            f"HNSW: its {size.graph // _MEGABYTE}MB are more than shared_buffers, "
            f"{size.buffers // _MEGABYTE}MB; searches are several times faster where they hold it"
        )


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", [name, value])
