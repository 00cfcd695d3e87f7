"""Build the HNSW: rows first, index after, which is several times faster than the reverse.

m 16 and ef_construction 64 are pgvector's defaults; on CLIP-like vectors they reach recall@10
above 0.99 at ef_search 100, and recall is measured at every release anyway.
"""

import os

import psycopg
from psycopg import sql

from clip_assets.index.statements import statement
from clip_assets.index.tables import Index

M = 16
EF_CONSTRUCTION = 64
PARALLEL_FROM_ROWS = 50_000
"""Workers that start on an empty graph together can leave islands in it that no search reaches:
1,498 vectors built by two stayed at recall 0.93 up to ef_search 1000, and reached 1.00 at 40 when
built by one."""

_BYTES_PER_ROW_OVERHEAD = 300  # neighbour lists and tuple headers at m 16, rounded up
_MEGABYTE = 1 << 20


def build(connection: psycopg.Connection, index: Index, rows: int) -> bool:
    """Make the HNSW if the table has none; returns whether it was made now.

    `rows` sizes maintenance_work_mem: a graph that does not fit takes several times as long.
    """
    if _exists(connection, index):
        return False
    needed = rows * (2 * index.identity.dim + _BYTES_PER_ROW_OVERHEAD)
    memory = min(max(needed, 64 * _MEGABYTE), _free_memory() // 2) // _MEGABYTE
    with connection.transaction():
        connection.execute(statement("lock_build"), {"hnsw": index.hnsw})
        if _exists(connection, index):
            return False
        _set(connection, "maintenance_work_mem", f"{memory}MB")
        _set(connection, "max_parallel_maintenance_workers", str(_workers(rows)))
        connection.execute(
            statement(
                "create_hnsw",
                table=index.table,
                hnsw=sql.Identifier(index.hnsw),
                m=sql.Literal(M),
                ef_construction=sql.Literal(EF_CONSTRUCTION),
            )
        )
    connection.execute(sql.SQL("ANALYZE clip_assets.{}").format(index.table))
    return True


def _workers(rows: int) -> int:
    return (os.cpu_count() or 2) - 1 if rows >= PARALLEL_FROM_ROWS else 0


def _exists(connection: psycopg.Connection, index: Index) -> bool:
    row = connection.execute(
        statement("has_hnsw"), {"hnsw": f"clip_assets.{index.hnsw}"}
    ).fetchone()
    return bool(row and row[0])


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
