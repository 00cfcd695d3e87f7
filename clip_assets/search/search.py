"""The one door to a collection's vectors: the service, the command line and the tests go here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from clip_assets.errors import ReleaseError
from clip_assets.index.tables import table_name
from clip_assets.index.vector_type import VectorType
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Graph, nearest
from clip_assets.search.statements import statement


@dataclass(frozen=True)
class Release:
    """What answers for a collection: one model's table at one ef_search.

    `spec` is how to load the model, `identity` what the loaded model must be; `comparison` is
    that with the previous release.
    """

    id: int
    collection: str
    index_id: int
    content: str
    ef_search: int
    rows: int
    judgement: dict[str, Any]
    run_id: str
    published_at: datetime
    identity: ModelIdentity
    spec: ModelSpec
    vector_type: VectorType
    comparison: dict[str, Any] | None = None

    @property
    def table(self) -> str:
        return table_name(self.index_id)

    @property
    def graph(self) -> Graph:
        dim = self.identity.dim
        return Graph(self.index_id, self.vector_type, dim, self.rows, self.ef_search)


@dataclass(frozen=True)
class Lineage:
    """Who made a hit's vector: the Dagster run, the job, the shard and its version, the model."""

    run_id: str
    job_id: str
    shard: str
    version: int
    model: str
    device: str


@dataclass(frozen=True)
class Hit:
    """One image of an answer; `score` is the cosine similarity to the query."""

    score: float
    image_id: str
    uri: str
    caption: str | None
    sha256: str
    width: int
    height: int
    lineage: Lineage


class Hits(list[Hit]):
    """Hits, best first. `complete` is false where fewer than k were found within the budget of a
    search, though more may match."""

    def __init__(self, hits: Iterable[Hit] = (), complete: bool = True) -> None:
        super().__init__(hits)
        self.complete = complete


def live(connection: psycopg.Connection, collection: str | None = None) -> Release:
    """The live release of the collection; None means the only one there is.

    Raises ReleaseError if there is none, or several to choose from.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement("live_release"), {"collection": collection})
        rows = cursor.fetchall()
    if not rows:
        raise ReleaseError(
            f"Nothing is released yet{f' for {collection}' if collection else ''}. Materialize "
            "`release` in Dagster, or run `clip-assets backfill`."
        )
    if len(rows) > 1:
        names = ", ".join(row["collection"] for row in rows)
        raise ReleaseError(f"Several collections are live: {names}. Name the one to search.")
    identity = ModelIdentity.model_validate(rows[0].pop("identity"))
    spec = ModelSpec.model_validate(rows[0].pop("spec"))
    vector_type = VectorType(rows[0].pop("vector_type"))
    return Release(**rows[0], identity=identity, spec=spec, vector_type=vector_type)


def search(
    connection: psycopg.Connection,
    release: Release,
    vector: NDArray[np.float32],
    k: int,
    only: Filter | None = None,
) -> Hits:
    """The k images nearest to `vector`, float32[dim] of unit length, that pass the filter.

    Raises ValueError if the vector is not of the release's dimension or not finite.
    """
    where = only.predicate if only else None
    rows, complete = nearest(connection, release.graph, vector, k, where)
    return Hits([_hit(release, row) for row in rows], complete)


def image(connection: psycopg.Connection, release: Release, image_id: str) -> Hit | None:
    """One image of the release by its id, with score 1."""
    row = connection.execute(
        statement("image", table=release.graph.table),
        {"image_id": image_id, "index_id": release.index_id},
    ).fetchone()
    return _hit(release, row) if row else None


def vector_of(
    connection: psycopg.Connection, release: Release, image_id: str
) -> NDArray[np.float32] | None:
    """The stored vector of an image, float32[dim], or None if the release has no such image."""
    row = connection.execute(
        statement("vector", table=release.graph.table), {"image_id": image_id}
    ).fetchone()
    return np.asarray(row[0], np.float32) if row else None


def thumbnail(connection: psycopg.Connection, sha256: str) -> bytes | None:
    """The small WebP picture of the image with that content hash."""
    row = connection.execute(statement("thumbnail"), {"sha256": sha256}).fetchone()
    return bytes(row[0]) if row else None


def _hit(release: Release, row: tuple[Any, ...]) -> Hit:
    score, image_id, uri, caption, sha256, width, height, run_id, job_id, shard, version, device = (
        row
    )
    lineage = Lineage(run_id, job_id, shard, version, release.identity.short, device)
    return Hit(float(score), image_id, uri, caption, sha256, width, height, lineage)
