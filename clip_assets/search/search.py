"""Search a collection's live release; used by the service, the command line and the tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import args_row, class_row, kwargs_row, scalar_row

from clip_assets.column import Columns
from clip_assets.errors import ReleaseError
from clip_assets.index.columns import as_object
from clip_assets.index.tables import columns_of, table_name
from clip_assets.index.vector_type import SqlVector, VectorType
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.postgres.pgvector import SCHEMA
from clip_assets.search.filters import Filter
from clip_assets.search.nearest import Graph, Neighbour, nearest
from clip_assets.search.statements import statement


@dataclass(frozen=True)
class Release:
    """What serves a collection's searches: one model's table at one ef_search.

    `spec` says how to load the model, `identity` what the loaded model must be; `comparison` is
    the comparison with the previous release. `columns` are those that the collection declares.
    With `exact`, searches compare all images.
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
    vector_schema: str
    columns: Columns = field(default_factory=dict)
    comparison: dict[str, Any] | None = None
    exact: bool = False

    @property
    def table(self) -> str:
        return table_name(self.index_id)

    @property
    def vectors(self) -> SqlVector:
        return SqlVector(self.vector_type, self.vector_schema)

    @property
    def graph(self) -> Graph:
        dim = self.identity.dim
        columns = tuple(self.columns.items())
        return Graph(
            self.index_id, self.vectors, dim, self.rows, self.ef_search,
            columns=columns, exact=self.exact,
        )  # fmt: skip


class Lineage(NamedTuple):
    """Where a hit's vector comes from: Dagster run, job, shard and version, model, device."""

    run_id: str
    job_id: str
    shard: str
    version: int
    model: str
    device: str


@dataclass(frozen=True)
class Origin:
    """Where a row comes from: its place in the shard's parquet, the commit with its digest, the run
    and job that made it, and when it was loaded."""

    image_id: str
    uri: str
    sha256: str
    shard: str
    row: int
    version: int
    digest: str
    commit_path: str
    run_id: str
    job_id: str
    device: str
    loaded_at: datetime


class Hit(NamedTuple):
    """One search result; `score` is the cosine similarity to the query.

    `columns` has the value of each declared column as in JSON; null if it is unknown. A named tuple
    is made in a third of the time of a frozen dataclass, and a search makes many.
    """

    score: float
    image_id: str
    uri: str
    caption: str | None
    sha256: str
    width: int
    height: int
    lineage: Lineage
    columns: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Hits:
    """Search results, best first. `complete` is false if the search reached its limit before it
    found k; more images may match."""

    hits: tuple[Hit, ...]
    complete: bool = True


def live(connection: psycopg.Connection, collection: str | None = None) -> Release:
    """The live release of the collection; None means the only collection.

    Raises ReleaseError if there is none, or if there are several and no name is given.
    """
    releases = all_live(connection, collection)
    if not releases:
        raise nothing_released(collection)
    if len(releases) > 1:
        names = ", ".join(sorted(release.collection for release in releases))
        raise ReleaseError(f"Several collections are live: {names}. Name the one to search.")
    return releases[0]


def all_live(connection: psycopg.Connection, collection: str | None = None) -> list[Release]:
    """The live releases of all collections or of this one, ordered by when the collection was first
    released."""
    cursor = connection.cursor(row_factory=kwargs_row(_release))
    found = statement("live_release", vector_schema=SCHEMA)
    return cursor.execute(found, {"collection": collection}).fetchall()


@dataclass(frozen=True)
class Published:
    """A release in its collection's history. `live` is true if it answers searches; it cannot be
    searched after `dropped_at`, when its index was dropped."""

    release: Release
    live: bool
    dropped_at: datetime | None
    taken_back_at: datetime | None


def published(connection: psycopg.Connection, collection: str) -> list[Published]:
    """All releases of the collection, newest first."""
    cursor = connection.cursor(row_factory=kwargs_row(_published))
    query = statement("releases", vector_schema=SCHEMA)
    return cursor.execute(query, {"collection": collection, "release_id": None}).fetchall()


def release_of(connection: psycopg.Connection, collection: str, release_id: int) -> Release | None:
    """The collection's release with this id, or None if there is none whose index still exists."""
    cursor = connection.cursor(row_factory=kwargs_row(_published))
    query = statement("releases", vector_schema=SCHEMA)
    found = cursor.execute(query, {"collection": collection, "release_id": release_id}).fetchone()
    return found.release if found and found.dropped_at is None else None


def nothing_released(collection: str | None) -> ReleaseError:
    """The error if this collection, or any if None, has no live release."""
    return ReleaseError(
        f"Nothing is released yet{f' for {collection}' if collection else ''}. Materialize "
        "`release` in Dagster, or run `clip-assets backfill`."
    )


def search(
    connection: psycopg.Connection,
    release: Release,
    vector: NDArray[np.float32],
    k: int,
    only: Filter | None = None,
) -> Hits:
    """The k images nearest to `vector`, float32[dim] of unit length, that match the filter.

    Raises ValueError if the vector is not of the release's dimension or not finite, FilterError if
    the filter names a column that is not declared, or a value that is not of its type.
    """
    where = only.predicate(release.columns) if only else None
    found = nearest(connection, release.graph, vector, k, where)
    model = release.identity.short
    return Hits(tuple(_hit(model, row) for row in found.rows), found.complete)


def image(connection: psycopg.Connection, release: Release, image_id: str) -> Hit | None:
    """One image of the release by its id, with score 1."""
    columns = as_object(release.columns)
    query = statement("image", table=release.graph.table, columns=columns)
    key = {"image_id": image_id, "index_id": release.index_id}
    row = connection.cursor(row_factory=args_row(Neighbour)).execute(query, key).fetchone()
    return _hit(release.identity.short, row) if row else None


def vector_of(
    connection: psycopg.Connection, release: Release, image_id: str
) -> NDArray[np.float32] | None:
    """The stored vector of an image, float32[dim], or None if the release has no such image."""
    query = statement("vector", table=release.graph.table)
    cursor = connection.cursor(row_factory=scalar_row)
    vector = cursor.execute(query, {"image_id": image_id}).fetchone()
    return None if vector is None else np.asarray(vector, np.float32)


def vectors_of(
    connection: psycopg.Connection, release: Release, image_ids: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """The stored vectors, float32[dim] by id, of those of the images that the release has."""
    query = statement("vectors", table=release.graph.table)
    rows = connection.execute(query, {"image_ids": list(image_ids)})
    return {image_id: np.asarray(vector, np.float32) for image_id, vector in rows}


def origin(connection: psycopg.Connection, release: Release, image_id: str) -> Origin | None:
    """Where the image's row comes from, or None if the release has no such image."""
    query = statement("origin", table=release.graph.table)
    key = {"image_id": image_id, "index_id": release.index_id}
    return connection.cursor(row_factory=class_row(Origin)).execute(query, key).fetchone()


def some_vectors(
    connection: psycopg.Connection, release: Release, count: int
) -> list[NDArray[np.float32]]:
    """The stored vectors of up to `count` images, float32[dim]."""
    query = statement("some_vectors", table=release.graph.table)
    cursor = connection.cursor(row_factory=scalar_row)
    return [np.asarray(row, np.float32) for row in cursor.execute(query, {"count": count})]


def any_loaded(connection: psycopg.Connection, release: Release) -> bool:
    """Whether any image was loaded into the release's index, and not erased."""
    return _says(connection, "any_loaded", index_id=release.index_id)


def has_hnsw(connection: psycopg.Connection, release: Release) -> bool:
    """Whether searches can use an HNSW; without a valid one, they compare all rows."""
    return _says(connection, "has_hnsw", table=f"clip_assets.{release.table}")


def thumbnail(connection: psycopg.Connection, sha256: str) -> bytes | None:
    """The thumbnail of the image with this content hash: JPEG, or WebP if it is old."""
    cursor = connection.cursor(row_factory=scalar_row)
    found: bytes | None = cursor.execute(statement("thumbnail"), {"sha256": sha256}).fetchone()
    return found


def _says(connection: psycopg.Connection, name: str, **values: Any) -> bool:
    asked = connection.cursor(row_factory=scalar_row).execute(statement(name), values)
    return bool(asked.fetchone())


def _release(
    *, identity: Any, spec: Any, vector_type: str, columns: dict[str, str], **others: Any
) -> Release:
    return Release(
        identity=ModelIdentity.model_validate(identity),
        spec=ModelSpec.model_validate(spec),
        vector_type=VectorType(vector_type),
        columns=columns_of(columns),
        **others,
    )


def _published(
    *, live: bool, dropped_at: datetime | None, taken_back_at: datetime | None, **release: Any
) -> Published:
    return Published(_release(**release), live, dropped_at, taken_back_at)


def _hit(model: str, row: Neighbour) -> Hit:
    lineage = Lineage(row.run_id, row.job_id, row.shard, row.version, model, row.device)
    return Hit(
        row.score, row.image_id, row.uri, row.caption, row.sha256, row.width, row.height, lineage,
        row.columns or {},
    )  # fmt: skip
