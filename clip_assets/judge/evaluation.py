"""Recall of HNSW search: its results compared with the ground truth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from clip_assets.index.tables import Index
from clip_assets.judge import ground_truth
from clip_assets.judge.queries import Query
from clip_assets.judge.ties import ROUNDING
from clip_assets.quality.recall import Recall, mean_recall
from clip_assets.search.conditions import Predicate
from clip_assets.search.nearest import Graph, nearest

Floats = NDArray[np.float32]

K = 10
"""The k of every judged recall."""


@dataclass(frozen=True)
class Evaluation:
    """Queries of one kind, and the exact distances of their K + 1 nearest, by share of the rows.

    `exact` holds float32[queries, K + 1], ascending, infinite where there are fewer.
    """

    queries: list[Query]
    exact: dict[float, Floats]

    def right(self, number: int, share: float) -> Floats:
        """Distances of a query's ground truth: its K nearest, without the query image itself."""
        bucket = self.queries[number].bucket
        itself = bucket is not None and bucket < share * ground_truth.BUCKETS
        distances = self.exact[share][number]
        finite: Floats = distances[np.isfinite(distances)]
        return finite[itself : K + itself]


@dataclass(frozen=True)
class Mark:
    """Result of one evaluation run; `seconds` is the time of each query."""

    recall: Recall
    seconds: list[float]


def prepare(
    connection: psycopg.Connection,
    index: Index,
    kinds: dict[str, list[Query]],
    shares: Sequence[float],
) -> dict[str, Evaluation]:
    """The ground truth for all kinds of queries, in one pass over the table."""
    queries = [query for some in kinds.values() for query in some]
    vectors = np.array([query.vector for query in queries], np.float32)
    exact = ground_truth.nearest_distances(connection, index, vectors, shares, K + 1)
    evaluations = {}
    first = 0
    for kind, some in kinds.items():
        mine = slice(first, first + len(some))
        first += len(some)
        own = {share: distances[mine] for share, distances in zip(shares, exact, strict=True)}
        evaluations[kind] = Evaluation(some, own)
    return evaluations


def take(
    connection: psycopg.Connection,
    graph: Graph,
    evaluation: Evaluation,
    share: float,
    count: int | None = None,
) -> Mark:
    """Run the first `count` queries as ordinary searches, over a share of the rows."""
    reached, seconds = [], []
    for number, query in enumerate(evaluation.queries[:count]):
        right = evaluation.right(number, share)
        if not len(right):
            continue
        started = time.perf_counter()
        found = distances(connection, graph, query, share)
        seconds.append(time.perf_counter() - started)
        hits = sum(distance <= right[-1] + ROUNDING for distance in found)
        reached.append(min(hits, len(right)) / len(right))
    return Mark(mean_recall(reached, K), seconds)


def distances(
    connection: psycopg.Connection, graph: Graph, query: Query, share: float
) -> list[float]:
    """Cosine distances of the K nearest images that a search finds."""
    where = None if share == 1.0 else below(share)
    found = nearest(connection, graph, query.vector, K + query.is_image, where)
    return [1 - row.score for row in found.rows if not query.is_itself(row.image_id)][:K]


def below(share: float) -> Predicate:
    """A filter that this share of the rows matches, selected by content hash."""
    return Predicate("sha256 < %(below)s", {"below": f"{int(share * ground_truth.BUCKETS):08x}"})
