"""One server compared with several behind postgres_fdw: recall and latency of the same search.

    .venv/bin/python -m benchmarks.foreign --rows 1000000 --one ADDRESS --coordinator ADDRESS \\
        --shards ADDRESS ADDRESS ADDRESS ADDRESS

Each address is a database with pgvector whose user may create tables; the coordinator also needs
postgres_fdw, which the embedded server does not have. Rows are spread evenly over the shards, which
have the product's m and ef_construction for their number of rows. The coordinator queries them in
two ways: through a partitioned table, and through a UNION ALL of searches that each have a LIMIT.
"""

import argparse
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks import made_up
from benchmarks.hnsw import K, exact_nearest
from benchmarks.made_up import Vectors
from clip_assets.index.hnsw import EF_SEARCH_LADDER, M, Planned

WANTED = (0.95, 0.99)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--one", required=True)
    parser.add_argument("--coordinator", required=True)
    parser.add_argument("--shards", required=True, nargs="+")
    arguments = parser.parse_args()
    vectors = made_up.image_vectors(arguments.rows, arguments.dim)
    queries = np.concatenate(
        [
            made_up.text_vectors(arguments.queries, arguments.dim),
            made_up.image_vectors(arguments.queries, arguments.dim, seed=99),
        ]
    )
    exact = exact_nearest(vectors, queries)
    numbers = np.arange(len(vectors))
    load(arguments.one, "images", vectors, numbers)
    for number, address in enumerate(arguments.shards):
        own = numbers % len(arguments.shards) == number
        load(address, f"images_{number}", vectors[own], numbers[own])
    with psycopg.connect(arguments.coordinator, autocommit=True) as coordinator:
        attach(coordinator, arguments.shards, arguments.dim)
        explain(coordinator, len(arguments.shards), queries[0])
    shards = len(arguments.shards)
    ways = [
        Way("one server", arguments.one, of_table("images"), 0),
        Way("partitioned table", arguments.coordinator, of_table("images"), shards),
        Way("UNION ALL", arguments.coordinator, of_each(shards), shards),
    ]
    measure(ways, queries, exact)


def load(address: str, table: str, vectors: Vectors, numbers: NDArray[np.int64]) -> None:
    """Load the rows and build their HNSW, unless the table already has as many rows."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        name = sql.Identifier(table)
        known = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
        counting = sql.SQL("SELECT count(*) FROM {}").format(name)
        if known and known[0] and connection.execute(counting).fetchone() == (len(vectors),):
            return
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
        column = sql.SQL("halfvec({})").format(vectors.shape[1])
        connection.execute(sql.SQL("CREATE TABLE {} (row int, embedding {})").format(name, column))
        copying = sql.SQL("COPY {} FROM STDIN WITH (FORMAT binary)").format(name)
        with connection.cursor().copy(copying) as copy:
            copy.set_types(["int4", "halfvec"])
            for number, vector in zip(numbers, vectors, strict=True):
                copy.write_row((int(number), HalfVector(vector)))
        connection.execute("SET maintenance_work_mem = '4GB'")
        started = time.perf_counter()
        connection.execute(
            sql.SQL(
                "CREATE INDEX ON {} USING hnsw (embedding halfvec_cosine_ops) "
                "WITH (m = {}, ef_construction = {})"
            ).format(name, M, Planned(len(vectors), max(WANTED)).ef_construction)
        )
        connection.execute(sql.SQL("ANALYZE {}").format(name))
        print(f"{table}: HNSW of {len(vectors):,} rows in {time.perf_counter() - started:.0f} s",
              flush=True)  # fmt: skip


def attach(coordinator: psycopg.Connection, shards: Sequence[str], dim: int) -> None:
    """Create a partitioned table with one foreign table for each shard.

    `extensions` lets pgvector's operators run on the shards, and `fetch_size` keeps the partitioned
    table from fetching a hundred rows of each.
    """
    coordinator.execute("CREATE EXTENSION IF NOT EXISTS vector")
    coordinator.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    coordinator.execute("DROP TABLE IF EXISTS images CASCADE")
    column = sql.SQL("halfvec({})").format(dim)
    coordinator.execute(
        sql.SQL("CREATE TABLE images (row int, embedding {}) PARTITION BY HASH (row)").format(
            column
        )
    )
    for number, address in enumerate(shards):
        server = sql.Identifier(f"shard_{number}")
        parts = conninfo_to_dict(address)
        user = {name: parts.pop(name) for name in ("user", "password") if name in parts}
        coordinator.execute(sql.SQL("DROP SERVER IF EXISTS {} CASCADE").format(server))
        options = {**parts, "extensions": "vector", "async_capable": "true",
                   "fetch_size": str(K), "options": "-c hnsw.ef_search=40"}  # fmt: skip
        coordinator.execute(
            sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})").format(
                server, _options(options)
            )
        )
        coordinator.execute(
            sql.SQL("CREATE USER MAPPING FOR CURRENT_USER SERVER {} OPTIONS ({})").format(
                server, _options(user)
            )
        )
        coordinator.execute(
            sql.SQL(
                "CREATE FOREIGN TABLE {0} PARTITION OF images "
                "FOR VALUES WITH (MODULUS {1}, REMAINDER {2}) SERVER {3} OPTIONS (table_name {4})"
            ).format(
                sql.Identifier(f"images_{number}"), len(shards), number, server, f"images_{number}"
            )
        )
        coordinator.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(f"images_{number}")))


def _options(values: dict[str, object]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal(str(value)))
        for name, value in values.items()
    )


def of_table(table: str) -> str:
    return (
        f"SELECT row, embedding <=> %(vector)s AS distance FROM {table} "
        f"ORDER BY embedding <=> %(vector)s LIMIT {K}"
    )


def of_each(shards: int) -> str:
    each = " UNION ALL ".join(f"({of_table(f'images_{number}')})" for number in range(shards))
    # `+ 0` keeps the planner from a Merge Append, which asks one shard after the other.
    return f"SELECT row FROM ({each}) AS found ORDER BY distance + 0 LIMIT {K}"


def explain(coordinator: psycopg.Connection, shards: int, vector: NDArray[np.float32]) -> None:
    register_vector(coordinator)
    cursor = psycopg.ClientCursor(coordinator)
    for query in (of_table("images"), of_each(shards)):
        cursor.execute(f"EXPLAIN (VERBOSE, COSTS off) {query}", {"vector": HalfVector(vector)})
        print("\n".join(re.sub(r"'\[[^']*'", "'[…]'", line) for (line,) in cursor), "\n")


@dataclass(frozen=True)
class Way:
    """One query against one server; `shards` is 0 if it has the rows itself."""

    name: str
    address: str
    query: str
    shards: int

    @contextmanager
    def open(self, ef: int) -> Iterator[psycopg.Connection]:
        """A new connection that searches with this ef_search, on the shards if there are any."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            register_vector(connection)
            for number in range(self.shards):
                connection.execute(
                    f"ALTER SERVER shard_{number} OPTIONS (SET options "
                    f"'-c hnsw.ef_search={ef} -c enable_seqscan=off')".encode()
                )
            if not self.shards:
                connection.execute(f"SET hnsw.ef_search = {ef}".encode())
                connection.execute("SET enable_seqscan = off")
            yield connection


def ask(way: Way, ef: int, queries: Vectors, exact: list[set[int]]) -> tuple[float, list[float]]:
    """Recall of all queries, and milliseconds of each but the first tenth."""
    times: list[float] = []
    right = 0
    with way.open(ef) as connection:
        for vector, wanted in zip(queries, exact, strict=True):
            started = time.perf_counter()
            rows = connection.execute(way.query.encode(), {"vector": HalfVector(vector)}).fetchall()
            times.append((time.perf_counter() - started) * 1_000)
            right += len(wanted & {row[0] for row in rows})
    return right / (K * len(queries)), times[len(times) // 10 :]


def measure(ways: list[Way], queries: Vectors, exact: list[set[int]]) -> None:
    """For each way, the smallest ef_search that reaches each wanted recall, and its latencies."""
    for wanted in WANTED:
        first = None
        for way in ways:
            for ef in EF_SEARCH_LADDER:
                recall, _ = ask(way, ef, queries, exact)
                if recall >= wanted:
                    break
            runs = [ask(way, ef, queries, exact)[1] for _ in range(ROUNDS)]
            p50, p99 = (
                statistics.median(float(np.percentile(times, share)) for times in runs)
                for share in (50, 99)
            )
            first = first or p50
            print(
                f"wanted {wanted}: {way.name:<18} ef_search {ef:<4} recall@10 {recall:.4f}, "
                f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, p50 ÷ one server {p50 / first:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
