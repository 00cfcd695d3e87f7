"""The k nearest rows of an index, by the plan that suits the filter.

No filter, or one that most rows pass: the HNSW, in iterative scans that go on until k rows
passed. A filter that few rows pass: those rows, compared one by one, which is exact and cheaper
than a graph walked almost in vain. The planner does not see this by itself, for it knows
nothing of how far the graph must be walked.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, LiteralString, NamedTuple, TypeVar

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import args_row, scalar_row

from clip_assets.index.hnsw import search_settings
from clip_assets.index.tables import table_name
from clip_assets.index.vector_type import VectorType
from clip_assets.search.filters import Predicate
from clip_assets.search.statements import statement

EVERYTHING = Predicate("true", {})

T = TypeVar("T")


class Neighbour(NamedTuple):
    """A row near the query, with its shard's lineage; `score` is the cosine similarity to it.

    In the order of the statements' columns: made by position, a row takes a tenth of the time.
    """

    score: float
    image_id: str
    uri: str
    caption: str | None
    sha256: str
    width: int
    height: int
    run_id: str
    job_id: str
    shard: str
    version: int
    device: str


class Neighbours(NamedTuple):
    """Rows, best first, and whether they are all that could be had.

    False means: the budget ended first, and more rows may match.
    """

    rows: list[Neighbour]
    complete: bool


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
) -> Neighbours:
    """The k nearest rows that match. Raises ValueError as `QueryVector`."""
    values = _values(connection, graph, vector, k)
    overfetch = 1
    if where is None:
        where = EVERYTHING
    else:
        values |= where.values
        overfetch = graph.budget.overfetch
        if few_match(connection, graph, where):
            return Neighbours(_exact(connection, graph, values, where), complete=True)
    rows = _by_hnsw(connection, graph, values | {"fetch": k * overfetch}, where)
    if len(rows) == k:
        return Neighbours(rows, complete=True)
    matching = _counted(connection, graph, where, graph.budget.rescue_rows + 1)
    if matching > graph.budget.rescue_rows:
        return Neighbours(rows, complete=False)
    if matching > len(rows):
        rows = _exact(connection, graph, values, where)
    return Neighbours(rows, complete=True)


def few_match(connection: psycopg.Connection, graph: Graph, where: Predicate) -> bool:
    """Whether the matching rows are compared one by one.

    Decided by the planner's own estimate: made from statistics, it costs the same for any filter.
    Where it says few, as it does of what its statistics do not know, some are counted first.
    """
    explain = _on("expected_rows", graph.index_id, graph.vector_type, where.condition)
    plans = connection.cursor(row_factory=scalar_row).execute(explain, where.values).fetchone()
    assert plans is not None, "EXPLAIN gives a plan"
    expected: float = plans[0]["Plan"]["Plan Rows"]
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
    cursor = connection.cursor(row_factory=scalar_row)
    return _fetch(cursor, explain, values, _settings(graph, k))


def _settings(graph: Graph, fetch: int) -> dict[str, str]:
    return search_settings(graph.ef_search, fetch, graph.budget.scan_tuples)


def _values(
    connection: psycopg.Connection, graph: Graph, vector: NDArray[np.float32], k: int
) -> dict[str, Any]:
    connection.adapters.register_dumper(QueryVector, _QueryDumper)
    query = QueryVector(vector, graph.dim, graph.vector_type)
    return {"vector": query, "k": k, "fetch": k, "index_id": graph.index_id}


def _by_hnsw(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Neighbour]:
    query = _search("hnsw", graph.index_id, graph.vector_type, where.condition)
    return _fetch(_neighbours(connection), query, values, _settings(graph, values["fetch"]))


def _exact(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Neighbour]:
    query = _search("exact", graph.index_id, graph.vector_type, where.condition)
    return _fetch(_neighbours(connection), query, values, {})


def _neighbours(connection: psycopg.Connection) -> psycopg.Cursor[Neighbour]:
    return connection.cursor(row_factory=args_row(Neighbour))


def _fetch(
    cursor: psycopg.Cursor[T], query: bytes, values: dict[str, Any], settings: dict[str, str]
) -> list[T]:
    """In one round trip, which is one transaction: the settings end with it.

    Plans are made for the values at hand; one for any value could not leave out what a filter
    does not ask for.
    """
    settings = {"plan_cache_mode": "force_custom_plan", **settings}
    with cursor.connection.pipeline():
        cursor.connection.execute(_set(tuple(settings)), [*settings.values()])
        cursor.execute(query, values)
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
    values = {**where.values, "limit": limit}
    count = connection.cursor(row_factory=scalar_row).execute(counting, values).fetchone()
    assert count is not None, "count gives a row"
    return int(count)
