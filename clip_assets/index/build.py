"""Build the HNSW of an index's table.

Bulk load first, index after: a build from all rows, in memory and by several workers, takes a
fraction of what inserting them one by one into a graph on pages does. Once the graph is there, a
shard that changes is inserted live, so that answers go on meanwhile: that suits small updates, and
`growth` sees to the large ones.

m 16 and ef_construction 64 are pgvector's defaults; on 100,000 CLIP-like vectors they reach
recall@10 above 0.99 at ef_search 160, and recall is measured at every release anyway. Of a million
they reach it only beyond ef_search 1000; with ef_construction 200, which takes two to three times
as long to build, at 320.
"""

import psycopg
from psycopg import sql

from clip_assets.index import filter_indexes, tables
from clip_assets.index.progress import Report, reported
from clip_assets.index.statements import statement
from clip_assets.index.tables import Index
from clip_assets.index.vector_type import VectorType
from clip_assets.postgres.machine import machine_of

M = 16
MANY_ROWS = 50_000
"""From here on the graph is built with more care."""

PARALLEL_FROM_ROWS = 50_000
"""Workers that start on an empty graph together can leave islands in it that no search reaches:
1,498 vectors built by two stayed at recall 0.93 up to ef_search 1000, and reached 1.00 at 40 when
built by one."""

_BYTES_PER_ROW_OVERHEAD = 800  # neighbour lists at m 16: 714 where pgvector 0.8.5 was tried
_MEGABYTE = 1 << 20


def _silent(line: str) -> None:
    """Nobody asked for progress."""


def build(
    connection: psycopg.Connection, index: Index, rows: int, report: Report = _silent
) -> bool:
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
            connection.execute(
                statement(
                    "create_hnsw",
                    table=index.table,
                    hnsw=sql.Identifier(index.hnsw),
                    cosine_ops=index.vector_type.cosine_ops,
                    m=sql.Literal(M),
                    ef_construction=sql.Literal(ef_construction(rows)),
                )
            )
    connection.execute(sql.SQL("ANALYZE clip_assets.{}").format(index.table))
    _advise(connection, index, report)
    return True


def ef_construction(rows: int) -> int:
    """How many neighbours a row chooses its own from while the graph is built."""
    return 64 if rows < MANY_ROWS else 200


def memory_needed(rows: int, dim: int, vector_type: VectorType) -> int:
    """Bytes that hold the graph while it is built; larger than it is on disk."""
    return rows * (vector_type.dtype.itemsize * dim + _BYTES_PER_ROW_OVERHEAD)


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
    row = connection.execute(statement("build_settings")).fetchone()
    assert row is not None, "current_setting gives a row"
    report(
        f"HNSW: building with {row[0]} of memory, {needed // _MEGABYTE}MB would hold the graph, "
        f"and at most {row[1]} workers"
    )


def _advise(connection: psycopg.Connection, index: Index, report: Report) -> None:
    """Say so where searches will have to fetch the graph's pages from beyond Postgres' memory."""
    hnsw = {"hnsw": f"clip_assets.{index.hnsw}"}
    row = connection.execute(statement("graph_and_buffers"), hnsw).fetchone()
    assert row is not None, "a SELECT of functions gives a row"
    graph, buffers = row
    if graph > buffers:
        report(
            f"HNSW: its {graph // _MEGABYTE}MB are more than shared_buffers, "
            f"{buffers // _MEGABYTE}MB; searches are several times faster where they hold it"
        )


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", [name, value])
