"""The queries used to judge an index: texts stored with the shards, and images of the index."""

from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import kwargs_row

from clip_assets.index.tables import Index
from clip_assets.judge.statements import statement
from clip_assets.store import commit as commits
from clip_assets.store.objects import Objects

Floats = NDArray[np.float32]

_QUERY_SHARDS = 50


@dataclass(frozen=True)
class Query:
    """One query, float32[dim].

    For a text, `image_id` is the image whose caption it is. For an image query, it is the query
    image, which does not count as a result; `bucket` determines which filters it matches.
    """

    image_id: str | None
    vector: Floats
    text: str | None = None
    bucket: int | None = None

    @property
    def is_image(self) -> bool:
        return self.bucket is not None

    def is_itself(self, image_id: str) -> bool:
        """Whether that image is the query image."""
        return self.is_image and image_id == self.image_id


def texts(objects: Objects, commit_paths: list[str]) -> list[Query]:
    """The queries stored with the shards, from a limited number of shards, evenly spread.

    Shards without captions all have the same queries; a repeated query is not independent evidence,
    so duplicates are dropped.
    """
    step = max(1, len(commit_paths) // _QUERY_SHARDS)
    found: dict[tuple[str | None, str, bytes], Query] = {}
    for path in commit_paths[::step]:
        commit = commits.read_path(objects, path)
        for row in commits.read_part(objects, commit.queries).to_pylist():
            vector = np.asarray(row["embedding"], np.float32)
            key = (row["image_id"], row["text"], vector.tobytes())
            found[key] = Query(row["image_id"], vector, row["text"])
    return list(found.values())


def images(connection: psycopg.Connection, index: Index, count: int) -> list[Query]:
    """Images of the index, always the same ones for the same rows."""
    sample = statement("sample_vectors", table=index.table, bucket=statement("bucket"))
    rows = connection.cursor(row_factory=kwargs_row(_image))
    return rows.execute(sample, {"count": count}).fetchall()


def _image(*, image_id: str, bucket: int, vector: list[float]) -> Query:
    return Query(image_id, np.asarray(vector, np.float32), bucket=bucket)
