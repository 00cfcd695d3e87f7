"""pgvector's HNSW: the only module with its DDL, settings and sizes.

m 16 and ef_construction 64 are pgvector's defaults; on 100,000 CLIP-like vectors they reach
recall@10 above 0.99 at ef_search 160, and recall is measured at every release anyway. On a million
vectors they need an ef_search above 1000. A higher ef_construction takes longer to build:

    ef_construction   built in   recall@10 of 0.95 at   of 0.99 at
    64                  305 s    ef_search 320          above 1000
    100                 378 s    200                    800
    200                 643 s    125                    320
"""

from dataclasses import dataclass

from psycopg import sql

from clip_assets.index.tables import Index
from clip_assets.index.vector_type import VectorType

M = 16
MANY_ROWS = 50_000
"""With this many rows or more, the graph is built with a higher ef_construction."""

MODEST_RECALL = 0.95
MODEST_ROWS = 1_000_000
"""Up to this recall and this many rows (the most that were measured), an ef_construction that
builds in three fifths of the time is enough."""

PARALLEL_FROM_ROWS = 50_000
"""With fewer rows, one process builds: parallel workers that start on an empty graph can leave
parts of it that no search reaches. A graph of 1,498 vectors built by two workers had recall 0.93
even at ef_search 1000; built by one, it had 1.00 at ef_search 40."""

MAX_EF_SEARCH = 1_000
"""pgvector's maximum; for larger k the iterative scan finds the rest."""

MANY_EQUAL = 2 * M * 10
"""pgvector keeps ten equal vectors in one node, which has 2 * M links. With more equal vectors than
this, their nodes may link only to each other; a search that reaches them finds no other image, at
any ef_search."""

EF_SEARCH_LADDER = (40, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, MAX_EF_SEARCH)
"""From pgvector's default to its maximum, in steps of about a quarter."""

SHOWN_ONLY = (10, 20)
"""Also measured, to show the curve, but never chosen."""

BUILD_PHASE = "building index: loading tuples"
"""The name in pg_stat_progress_create_index of the long phase of a build."""

_BYTES_PER_ROW_OVERHEAD = 800  # neighbour lists at m 16; 714 measured with pgvector 0.8.5
_NO_LIMIT = 2**31 - 1

_CREATE = sql.SQL(
    "CREATE INDEX IF NOT EXISTS {name} ON clip_assets.{table} "
    "USING hnsw (embedding {operators}) WITH (m = {m}, ef_construction = {ef_construction})"
)


@dataclass(frozen=True)
class Planned:
    """A graph to build: its number of rows, and the recall@10 that its searches must reach."""

    rows: int
    recall: float

    @property
    def ef_construction(self) -> int:
        """How many candidate neighbours the build considers for each row."""
        if self.rows < MANY_ROWS:
            return 64
        modest = self.recall <= MODEST_RECALL and self.rows <= MODEST_ROWS
        return 100 if modest else 200


def memory_needed(rows: int, dim: int, vector_type: VectorType) -> int:
    """Bytes of memory for the graph during a build; more than its size on disk."""
    return rows * (vector_type.dtype.itemsize * dim + _BYTES_PER_ROW_OVERHEAD)


def create_statement(index: Index, planned: Planned) -> sql.Composed:
    """The DDL that builds the graph of the index's table."""
    return _CREATE.format(
        name=sql.Identifier(index.hnsw),
        table=index.table,
        operators=index.vectors.cosine_operators,
        m=sql.Literal(M),
        ef_construction=sql.Literal(planned.ef_construction),
    )


def search_settings(ef_search: int, fetch: int, scan_tuples: int) -> dict[str, str]:
    """Settings under which the graph finds `fetch` rows, within a scan of `scan_tuples`.

    Postgres would scan small tables sequentially; these settings force the HNSW at every size, so
    that searches use what was judged. Iterative scans still return `fetch` rows while dead rows
    wait for VACUUM.
    """
    return {
        "hnsw.ef_search": str(min(max(ef_search, fetch), MAX_EF_SEARCH)),
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": str(scan_tuples),
        "enable_seqscan": "off",
        "enable_sort": "off",
    }


def deepened(ef_search: sql.Composable, fetch: sql.Composable) -> sql.Composed:
    """A call in such a function's body that makes the graph find `fetch` rows as with
    `search_settings`; the change ends with the function."""
    return sql.SQL("set_config('hnsw.ef_search', least(greatest({}, {}), {})::text, true)").format(
        ef_search, fetch, sql.Literal(MAX_EF_SEARCH)
    )


def function_settings(ef_search: int) -> sql.Composed:
    """SET clauses for CREATE FUNCTION, so that its body searches until it has found enough."""
    settings: dict[str, sql.Composable] = {
        "hnsw.ef_search": sql.Literal(ef_search),
        "hnsw.iterative_scan": sql.SQL("relaxed_order"),
        "hnsw.max_scan_tuples": sql.Literal(_NO_LIMIT),
        "hnsw.scan_mem_multiplier": sql.Literal(16),
    }
    clauses = [
        sql.SQL("SET {} = {}").format(sql.Identifier(*name.split(".")), value)
        for name, value in settings.items()
    ]
    return sql.SQL("\n").join(clauses)
