"""Treats images at the same distance from a query as interchangeable, because copies are."""

from collections.abc import Iterable

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import args_row

from clip_assets.judge.ground_truth import unit
from clip_assets.judge.statements import statement
from clip_assets.search.nearest import Graph

Floats = NDArray[np.float32]

ROUNDING = 2e-6
"""The largest difference between distances from Postgres and from numpy."""


def distances(
    connection: psycopg.Connection, graph: Graph, vector: Floats, image_ids: Iterable[str]
) -> dict[str, float]:
    """Cosine distances from `vector`, float32[dim], to the given images that the index has."""
    query = unit(vector.astype(graph.vectors.type.dtype)[None])[0]

    def measured(image_id: str, stored: list[float]) -> tuple[str, float]:
        return image_id, float(1 - unit(np.asarray(stored, np.float32)[None])[0] @ query)

    rows = connection.cursor(row_factory=args_row(measured))
    names = {"image_ids": [*image_ids]}
    return dict(rows.execute(statement("vectors_of", table=graph.table), names))


def paired(first: Iterable[float], second: Iterable[float]) -> int:
    """How many of the first distances have an equal one among the second, each used once."""
    left = list(second)
    count = 0
    for distance in first:
        same = [other for other in left if abs(distance - other) <= ROUNDING]
        if same:
            left.remove(same[0])
            count += 1
    return count
