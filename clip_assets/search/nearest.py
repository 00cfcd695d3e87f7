"""The k nearest rows of an index, by the plan that suits the filter.

No filter, or one that most rows pass: the HNSW, in iterative scans that go on until k rows
passed. A filter that few rows pass: those rows, compared one by one, which is exact and cheaper
than a graph walked almost in vain. The planner does not see this by itself, for it knows
nothing of how far the graph must be walked.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from clip_assets.index.tables import table_name
from clip_assets.index.vector_type import VectorType
from clip_assets.search.filters import Predicate
from clip_assets.search.statements import statement

MAX_EF_SEARCH = 1_000
"""pgvector takes no more; the iterative scan finds what is asked beyond it."""

Row = tuple[Any, ...]
"""Score, image id and the rest of the `search` statement."""


EVERYTHING = Predicate("true", {})


@dataclass(frozen=True)
class Budget:
    """How much a search may cost.

    Where up to `exact_rows(rows)` rows are expected to match a filter, they are compared one by
    one, unless they turn out to be more than that and than `rescue_rows`. A walk of the graph under
    a filter finds `overfetch` times k rows and keeps the nearest k: of those that match, the graph
    leads to some of the nearest only after others. It ends after `scan_tuples` rows; if it has not
    found k by then, up to `rescue_rows` are compared instead.
    """

    exact_factor: float = 16.0
    overfetch: int = 3
    scan_tuples: int = 20_000
    rescue_rows: int = 20_000

    def exact_rows(self, rows: int) -> float:
        """Where both plans cost the same: comparing costs with the number of rows that match,
        walking with the number of rows for each that matches, so they meet at its root."""
        return self.exact_factor * math.sqrt(rows)


@dataclass(frozen=True)
class Graph:
    """An index as searches see it: its table, and how far its HNSW is walked."""

    index_id: int
    vector_type: VectorType
    dim: int
    rows: int
    ef_search: int
    budget: Budget = Budget()

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(table_name(self.index_id))


class QueryVector:
    """A query as pgvector reads it from the wire: no digits to write and read again."""

    def __init__(self, vector: NDArray[np.float32], dim: int, vector_type: VectorType) -> None:
        """Raises ValueError if the vector is not float32[dim], and finite once rounded."""
        with np.errstate(over="ignore"):
            rounded = vector.astype(vector_type.dtype)
        if rounded.shape != (dim,) or not np.isfinite(rounded).all():
            raise ValueError(f"expected {dim} finite numbers, got shape {vector.shape}")
        self.wire = vector_type.on_wire(rounded[None]).tobytes()


class _QueryDumper(Dumper):
    """Leaves the type to the statement's cast: its number differs from database to database."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: QueryVector) -> bytes:
        return obj.wire


def nearest(
    connection: psycopg.Connection,
    graph: Graph,
    vector: NDArray[np.float32],
    k: int,
    where: Predicate | None = None,
) -> tuple[list[Row], bool]:
    """The k nearest rows that match, best first, and whether they are all that could be had.

    False means: the budget ended first, and more rows may match. Raises ValueError as
    `QueryVector`.
    """
    values = _values(connection, graph, vector, k)
    overfetch = 1
    if where is None:
        where = EVERYTHING
    else:
        values |= where.values
        overfetch = graph.budget.overfetch
        if few_match(connection, graph, where):
            return _exact(connection, graph, values, where), True
    rows = _by_hnsw(connection, graph, values | {"fetch": k * overfetch}, where)
    if len(rows) == k:
        return rows, True
    matching = _counted(connection, graph, where, graph.budget.rescue_rows + 1)
    if matching > graph.budget.rescue_rows:
        return rows, False
    return _exact(connection, graph, values, where) if matching > len(rows) else rows, True


def few_match(connection: psycopg.Connection, graph: Graph, where: Predicate) -> bool:
    """Whether the matching rows are compared one by one.

    Decided by the planner's own estimate: made from statistics, it costs the same for any filter.
    Where it says few, as it does of what its statistics do not know, some are counted first.
    """
    explain = _on("expected_rows", graph.index_id, graph.vector_type, where.condition)
    plan = connection.execute(explain, where.values).fetchone()
    assert plan is not None, "EXPLAIN gives a plan"
    expected: float = plan[0][0]["Plan"]["Plan Rows"]
    if expected > graph.budget.exact_rows(graph.rows):
        return False
    most = max(graph.budget.rescue_rows, int(graph.budget.exact_rows(graph.rows)))
    return _counted(connection, graph, where, most + 1) <= most


def plan(
    connection: psycopg.Connection, graph: Graph, vector: NDArray[np.float32], k: int
) -> list[str]:
    """How Postgres would answer an unfiltered search, in the lines of EXPLAIN."""
    values = _values(connection, graph, vector, k)
    explain = b"EXPLAIN " + _search("hnsw", graph.index_id, graph.vector_type, EVERYTHING.condition)
    rows = _fetch(connection, explain, values, settings(graph, k))
    return [line for (line,) in rows]


def settings(graph: Graph, fetch: int) -> dict[str, str]:
    """Settings under which the HNSW answers.

    Small tables would be scanned whole; the index is used at every size, so that what was
    judged is what answers. Iterative scans keep answers full while dead rows await VACUUM.
    """
    return {
        "hnsw.ef_search": str(min(max(graph.ef_search, fetch), MAX_EF_SEARCH)),
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": str(graph.budget.scan_tuples),
        "enable_seqscan": "off",
        "enable_sort": "off",
    }


def _values(
    connection: psycopg.Connection, graph: Graph, vector: NDArray[np.float32], k: int
) -> dict[str, Any]:
    connection.adapters.register_dumper(QueryVector, _QueryDumper)
    query = QueryVector(vector, graph.dim, graph.vector_type)
    return {"vector": query, "k": k, "fetch": k, "index_id": graph.index_id}


def _by_hnsw(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Row]:
    query = _search("hnsw", graph.index_id, graph.vector_type, where.condition)
    return _fetch(connection, query, values, settings(graph, values["fetch"]))


def _exact(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Row]:
    query = _search("exact", graph.index_id, graph.vector_type, where.condition)
    return _fetch(connection, query, values, {})


def _fetch(
    connection: psycopg.Connection, query: bytes, values: dict[str, Any], settings: dict[str, str]
) -> list[Row]:
    """In one round trip, which is one transaction: the settings end with it.

    Plans are made for the values at hand; one for any value could not leave out what a filter
    does not ask for.
    """
    settings = {"plan_cache_mode": "force_custom_plan", **settings}
    with connection.pipeline():
        connection.execute(_set(tuple(settings)), [*settings.values()])
        cursor = connection.execute(query, values)
    return cursor.fetchall()


# Composing a statement costs as much as running a small one; each is composed once.
@lru_cache(256)
def _search(way: str, index_id: int, vector_type: VectorType, condition: LiteralString) -> bytes:
    return statement("search", nearest=_on(way, index_id, vector_type, condition)).as_bytes()


@lru_cache(256)
def _on(
    name: str, index_id: int, vector_type: VectorType, condition: LiteralString
) -> sql.Composed:
    table = sql.Identifier(table_name(index_id))
    vectors = vector_type.name_in_sql
    return statement(name, table=table, vector_type=vectors, filter=sql.SQL(condition))


@cache
def _set(names: tuple[str, ...]) -> bytes:
    """Gives each setting a value for the running transaction."""
    calls = [sql.SQL("set_config({}, %s, true)").format(name) for name in names]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)).as_bytes()


def _counted(connection: psycopg.Connection, graph: Graph, where: Predicate, limit: int) -> int:
    counting = _on("count_matching", graph.index_id, graph.vector_type, where.condition)
    row = connection.execute(counting, {**where.values, "limit": limit}).fetchone()
    assert row is not None, "count gives a row"
    return int(row[0])
