"""The k nearest rows of an index, by the plan that suits the filter.

Without a filter, or with one that most rows match: HNSW search, with iterative scans that continue
until k rows match. With a filter that few rows match: exact search over those rows, which costs
less than a long walk of the graph. Postgres' planner cannot make this choice, because it does not
know how far the graph must be walked.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple, TypeVar

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import args_row, scalar_row

from clip_assets.column import ColumnType
from clip_assets.index.columns import as_object
from clip_assets.index.hnsw import search_settings
from clip_assets.index.tables import table_name
from clip_assets.index.vector_type import SqlVector, VectorType
from clip_assets.search.conditions import Predicate
from clip_assets.search.statements import statement

EVERYTHING = Predicate("true", {})

T = TypeVar("T")


class Neighbour(NamedTuple):
    """A row near the query, with its shard's lineage; `score` is the cosine similarity to it.

    Fields are in the order of the statements' columns; filling by position is ten times faster.
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
    columns: dict[str, Any] | None


class Neighbours(NamedTuple):
    """Rows, best first, and whether the search was complete.

    `complete` is false if the search reached its limit first; more rows may match.
    """

    rows: list[Neighbour]
    complete: bool


@dataclass(frozen=True)
class Budget:
    """How much a search may cost.

    If at most `exact_rows(rows)` rows are expected to match a filter, the search is exact, unless a
    count finds more than both that and `rescue_rows`.

    HNSW search fetches more than k rows and keeps the nearest k. Without a filter it fetches
    `spare` more: the graph compares vectors that it has rounded once more, so that rows at nearly
    the same distance change places. Under a filter it fetches `overfetch` times k, because it can
    find some of the nearest after farther ones. It ends after `scan_tuples` rows; if it has not
    found k by then, exact search follows over up to `rescue_rows` rows.
    """

    exact_factor: float = 16.0
    spare: int = 5
    overfetch: int = 3
    scan_tuples: int = 20_000
    rescue_rows: int = 20_000

    def exact_rows(self, rows: int) -> float:
        """Number of matching rows at which both plans cost the same. Exact search's cost grows
        with m matching rows, that of HNSW search with rows / m, so it is proportional to √rows."""
        return self.exact_factor * math.sqrt(rows)


@dataclass(frozen=True)
class Graph:
    """What a search needs to know about an index: table, declared columns, ef_search and budget.

    With `exact`, searches compare all rows.
    """

    index_id: int
    vectors: SqlVector
    dim: int
    rows: int
    ef_search: int
    budget: Budget = Budget()
    columns: tuple[tuple[str, ColumnType], ...] = ()
    exact: bool = False

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(table_name(self.index_id))


class QueryVector:
    """A query vector in pgvector's binary format, which needs no conversion to text and back."""

    def __init__(self, vector: NDArray[np.float32], dim: int, vector_type: VectorType) -> None:
        """Raises ValueError unless the vector is float32[dim], and finite after rounding."""
        with np.errstate(over="ignore"):
            rounded = vector.astype(vector_type.dtype)
        if rounded.shape != (dim,) or not np.isfinite(rounded).all():
            raise ValueError(f"expected {dim} finite numbers, got shape {vector.shape}")
        self.wire = vector_type.on_wire(rounded[None]).tobytes()


class _QueryDumper(Dumper):
    """Leaves the type to the statement's cast, because its OID differs between databases."""

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
    """The k nearest rows that match. Raises ValueError like `QueryVector`."""
    values = _values(connection, graph, vector, k)
    if graph.exact:
        where = where or EVERYTHING
        rows = _exact(connection, graph, values | where.values, where)
        return Neighbours(rows, complete=True)
    fetch = k + graph.budget.spare
    if where is None:
        where = EVERYTHING
    else:
        values |= where.values
        fetch = k * graph.budget.overfetch
        if few_match(connection, graph, where):
            return Neighbours(_exact(connection, graph, values, where), complete=True)
    rows = _by_hnsw(connection, graph, values | {"fetch": fetch}, where)
    if len(rows) == k:
        return Neighbours(rows, complete=True)
    matching = _counted(connection, graph, where, graph.budget.rescue_rows + 1)
    if matching > graph.budget.rescue_rows:
        return Neighbours(rows, complete=False)
    if matching > len(rows):
        rows = _exact(connection, graph, values, where)
    return Neighbours(rows, complete=True)


def few_match(connection: psycopg.Connection, graph: Graph, where: Predicate) -> bool:
    """Whether few enough rows match for exact search.

    Uses the planner's estimate, which costs the same for any filter. If it expects few rows, as it
    does for values outside its statistics, the rows are counted up to a limit.
    """
    explain = _on("expected_rows", graph.index_id, graph.vectors, where.condition)
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
    """The EXPLAIN lines of an unfiltered search."""
    values = _values(connection, graph, vector, k)
    explain = b"EXPLAIN " + _search(graph, "hnsw", EVERYTHING)
    cursor = connection.cursor(row_factory=scalar_row)
    return _fetch(cursor, explain, values, _settings(graph, k, EVERYTHING))


def _settings(graph: Graph, fetch: int, where: Predicate) -> dict[str, str]:
    """Planning takes a third of a small search, so it is done once for all searches without a
    filter. Conditions of unused filters are dropped only from custom plans."""
    plans = "force_generic_plan" if where is EVERYTHING else "force_custom_plan"
    found = search_settings(graph.ef_search, fetch, graph.budget.scan_tuples)
    return {"plan_cache_mode": plans, **found}


def _values(
    connection: psycopg.Connection, graph: Graph, vector: NDArray[np.float32], k: int
) -> dict[str, Any]:
    connection.adapters.register_dumper(QueryVector, _QueryDumper)
    query = QueryVector(vector, graph.dim, graph.vectors.type)
    return {"vector": query, "k": k, "fetch": k, "index_id": graph.index_id}


def _by_hnsw(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Neighbour]:
    query = _search(graph, "hnsw", where)
    settings = _settings(graph, values["fetch"], where)
    return _fetch(_neighbours(connection), query, values, settings)


def _exact(
    connection: psycopg.Connection, graph: Graph, values: dict[str, Any], where: Predicate
) -> list[Neighbour]:
    query = _search(graph, "exact", where)
    return _fetch(_neighbours(connection), query, values, {"plan_cache_mode": "force_custom_plan"})


def _neighbours(connection: psycopg.Connection) -> psycopg.Cursor[Neighbour]:
    # In binary, numbers need no conversion from text.
    return connection.cursor(row_factory=args_row(Neighbour), binary=True)


def _fetch(
    cursor: psycopg.Cursor[T], query: bytes, values: dict[str, Any], settings: dict[str, str]
) -> list[T]:
    """Run in one round trip and one transaction, so that the settings end with it."""
    with cursor.connection.pipeline():
        cursor.connection.execute(_set(tuple(settings.items())))
        cursor.execute(query, values)
    return cursor.fetchall()


def _search(graph: Graph, way: str, where: Predicate) -> bytes:
    return _composed(way, graph.index_id, graph.vectors, where.condition, graph.columns)


# Composing a statement costs as much as running a small one, so the result is cached.
@lru_cache(256)
def _composed(
    way: str,
    index_id: int,
    vectors: SqlVector,
    condition: LiteralString,
    columns: tuple[tuple[str, ColumnType], ...],
) -> bytes:
    inner = _on(way, index_id, vectors, condition)
    return statement("search", nearest=inner, columns=as_object(dict(columns))).as_bytes()


@lru_cache(256)
def _on(name: str, index_id: int, vectors: SqlVector, condition: LiteralString) -> sql.Composed:
    return statement(
        name,
        table=sql.Identifier(table_name(index_id)),
        vector_type=vectors.name,
        distance=vectors.distance,
        filter=sql.SQL(condition),
    )


# Without parameters, it costs half as much.
@lru_cache(256)
def _set(settings: tuple[tuple[str, str], ...]) -> bytes:
    """Sets each setting for the current transaction."""
    calls = [sql.SQL("set_config({}, {}, true)").format(*setting) for setting in settings]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)).as_bytes()


def _counted(connection: psycopg.Connection, graph: Graph, where: Predicate, limit: int) -> int:
    counting = _on("count_matching", graph.index_id, graph.vectors, where.condition)
    values = {**where.values, "limit": limit}
    count = connection.cursor(row_factory=scalar_row).execute(counting, values).fetchone()
    assert count is not None, "count gives a row"
    return int(count)
