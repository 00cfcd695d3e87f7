"""Searches per second by number of connections, compared with hnswlib with as many threads.

    .venv/bin/python -m pip install -c constraints.txt -e '.[benchmarks]'
    .venv/bin/python -m benchmarks.concurrency --rows 100000

Both engines answer at the smallest ef that reaches the recall for text and for image queries. Ours
is the product's own search, rows and lineage included, from one thread for each connection.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import psycopg

from benchmarks import hnsw, made_up
from benchmarks.made_up import Vectors
from clip_assets.postgres.connect import connect_owner
from clip_assets.search.nearest import Graph, nearest
from clip_assets.settings import Settings

WANTED = (0.95, 0.99)
CONNECTIONS = (1, 2, 4, 8)
ROUNDS = 5


@dataclass(frozen=True)
class Load:
    """`ours` and `theirs` answer all queries, with the given number of connections or threads."""

    ours: Callable[[Vectors, int], None]
    theirs: Callable[[Vectors, int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    vectors = made_up.image_vectors(arguments.rows, arguments.dim)
    queries = {
        "text": made_up.text_vectors(arguments.queries, arguments.dim),
        "image": made_up.image_vectors(arguments.queries, arguments.dim, seed=99),
    }
    exact = {kind: hnsw.exact_nearest(vectors, some) for kind, some in queries.items()}
    with connect_owner(Settings()) as connection, ExitStack() as opened:
        index = hnsw.load(connection, vectors)
        postgres = hnsw.in_postgres(connection, index, len(vectors))
        library, engine = hnsw.hnswlib(vectors)
        connections = [opened.enter_context(connect_owner(Settings())) for _ in range(8)]
        for wanted in WANTED:
            ours = hnsw.climb(postgres, queries, exact, wanted=wanted)[-1].ef
            theirs = hnsw.climb(engine, queries, exact, wanted=wanted)[-1].ef
            graph = Graph(index.index_id, index.vectors, arguments.dim, len(vectors), ours)
            library.set_ef(theirs)
            load = Load(
                lambda some, count, graph=graph: ask(connections[:count], graph, some),
                lambda some, count: library.knn_query(some, hnsw.K, num_threads=count),
            )
            compare(load, np.concatenate([*queries.values()]), f"{wanted} (ef {ours}, {theirs})")


def ask(connections: list[psycopg.Connection], graph: Graph, queries: Vectors) -> None:
    def work(number: int) -> None:
        for vector in queries[number :: len(connections)]:
            nearest(connections[number], graph, vector, hnsw.K)

    with ThreadPoolExecutor(len(connections)) as threads:
        list(threads.map(work, range(len(connections))))


def compare(load: Load, queries: Vectors, recall: str) -> None:
    """Print the median rates of alternating rounds."""
    print(f"recall@10 {recall}")
    for count in CONNECTIONS:
        rates: dict[str, list[float]] = {"ours": [], "hnswlib": []}
        for _ in range(ROUNDS):
            for name, answer in (("ours", load.ours), ("hnswlib", load.theirs)):
                started = time.perf_counter()
                answer(queries, count)
                rates[name].append(len(queries) / (time.perf_counter() - started))
        ours, theirs = (statistics.median(each) for each in rates.values())
        print(
            f"  {count} connections: ours {ours:.0f}/s, hnswlib {theirs:.0f}/s, "
            f"ratio {ours / theirs:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
