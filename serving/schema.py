"""The response models of the API, with the descriptions shown in its documentation."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray
from pydantic import AnyHttpUrl, BaseModel, Field, TypeAdapter

from clip_assets.column import ColumnType
from clip_assets.model import ModelIdentity
from clip_assets.quality.recall import Recall
from clip_assets.search.accuracy import Accuracy
from clip_assets.search.columns import DeclaredColumn
from clip_assets.search.search import Hit, Origin, Published, Release

from .query import SearchOptions
from .settings import ServingSettings

UNTRAINED = "untrained model: results are meaningless"


class LineageOut(BaseModel):
    """What made this vector."""

    run_id: str
    run_url: str | None = Field(description="the run in the Dagster UI, if its address is set")
    job_id: str
    shard: str
    version: int
    model: str
    device: str


class ImageOut(BaseModel):
    """One image of the index."""

    image_id: str
    uri: str
    caption: str | None
    width: int
    height: int
    sha256: str
    thumbnail: str
    columns: dict[str, str | int | float | bool | None] = Field(
        description="the value of each declared column; null if it has none"
    )
    original: str | None = Field(
        None, description="address of the image itself; null if the service does not serve it"
    )
    lineage: LineageOut

    @classmethod
    def of(
        cls, hit: Hit, release: Release, settings: ServingSettings, asked: int | None = None
    ) -> Self:
        """The record of a hit of `release`.

        `asked` is the release that the request names, if any: a later one may lack the image.
        """
        original = _original(hit, release, settings, asked)
        fields = {**_fields(hit, settings), "lineage": _lineage(hit, settings)}
        return cls.model_validate(fields | {"original": original})


class HitOut(ImageOut):
    """One image and its similarity to the query; some fields are null unless `include` has them."""

    score: float = Field(description="cosine similarity, -1 to 1")
    lineage: LineageOut | None = None  # type: ignore[assignment]
    vector: list[float] | None = Field(None, description="its unit vector by the release's model")


_HITS = TypeAdapter(list[HitOut])


def hits_with_only(
    hits: Sequence[Hit],
    release: Release,
    settings: ServingSettings,
    options: SearchOptions,
    vectors: Mapping[str, NDArray[np.float32]],
) -> list[HitOut]:
    """The hits of `release`, each with what was asked for and with its vector if there is one.

    They are validated together, which takes half as long as one by one.
    """
    found = []
    for hit in hits:
        fields = _fields(hit, settings)
        fields["score"] = hit.score
        if "lineage" in options.include:
            fields["lineage"] = _lineage(hit, settings)
        if "original" in options.include:
            fields["original"] = _original(hit, release, settings, options.release)
        if hit.image_id in vectors:
            fields["vector"] = vectors[hit.image_id].tolist()
        found.append(fields)
    return _HITS.validate_python(found)


class OriginOut(BaseModel):
    """Where an image in the answers comes from: file, shard, commit, run and release."""

    image_id: str
    uri: str
    sha256: str
    shard: str
    row: int = Field(description="its row in the shard's parquet")
    version: int = Field(description="the shard's version")
    digest: str = Field(description="the digest of the shard's commit")
    commit_path: str = Field(description="the commit's path below the collection's files")
    run_id: str
    run_url: str | None
    job_id: str
    device: str
    loaded_at: datetime
    model: str
    identity: ModelIdentity
    release: int
    release_run_id: str
    release_run_url: str | None
    published_at: datetime

    @classmethod
    def of(cls, origin: Origin, release: Release, settings: ServingSettings) -> Self:
        return cls(
            **vars(origin),
            run_url=_run_url(settings.dagster_url, origin.run_id),
            model=release.identity.short,
            identity=release.identity,
            release=release.id,
            release_run_id=release.run_id,
            release_run_url=_run_url(settings.dagster_url, release.run_id),
            published_at=release.published_at,
        )


class ReleaseOut(BaseModel):
    """The live release that the service answers from."""

    id: int
    collection: str
    model: str
    identity: ModelIdentity
    untrained: bool
    rows: int
    ef_search: int
    published_at: datetime
    warning: str | None

    @classmethod
    def of(cls, release: Release) -> Self:
        return cls(
            id=release.id,
            collection=release.collection,
            model=release.identity.short,
            identity=release.identity,
            untrained=release.identity.untrained,
            rows=release.rows,
            ef_search=release.ef_search,
            published_at=release.published_at,
            warning=warning(release),
        )


class PublishedOut(BaseModel):
    """A release in its collection's history."""

    id: int
    live: bool
    searchable: bool = Field(description="false once its index is dropped")
    model: str
    same_model: bool = Field(
        description="whether the live release's model made it; another one is loaded for texts"
    )
    rows: int
    published_at: datetime
    taken_back_at: datetime | None = Field(description="when it was rolled back")
    run_id: str
    run_url: str | None

    @classmethod
    def of(cls, published: Published, live: Release, settings: ServingSettings) -> Self:
        release = published.release
        return cls(
            id=release.id,
            live=published.live,
            searchable=published.dropped_at is None,
            model=release.identity.short,
            same_model=release.identity.text_key == live.identity.text_key,
            rows=release.rows,
            published_at=release.published_at,
            taken_back_at=published.taken_back_at,
            run_id=release.run_id,
            run_url=_run_url(settings.dagster_url, release.run_id),
        )


class ColumnOut(BaseModel):
    """A declared column, and the values that a filter can ask for."""

    name: str
    type: ColumnType
    values: list[str | int | float | bool] | None = Field(
        description="all values in order; null if there are too many to list"
    )
    min: str | int | float | bool | None = Field(description="null for texts and booleans")
    max: str | int | float | bool | None

    @classmethod
    def of(cls, column: DeclaredColumn) -> Self:
        return cls.model_validate(vars(column))


class AnswerRelease(BaseModel):
    """The release that gave an answer."""

    id: int
    model: str
    untrained: bool
    published_at: datetime


class TermOut(BaseModel):
    """A term as the service understood it."""

    text: str | None = None
    read: str | None = Field(
        None, description="the beginning of the text that fits the model; null if all of it fits"
    )
    image_id: str | None = None
    weight: float = 1.0


class Query(BaseModel):
    """The query as the service understood it."""

    kind: Literal["text", "image_id", "upload", "terms"]
    text: str | None = None
    read: str | None = Field(
        None, description="the beginning of the text that fits the model; null if all of it fits"
    )
    image_id: str | None = None
    terms: list[TermOut] | None = None
    vector: list[float] | None = Field(
        None, description="the unit vector that was searched for; only if asked for"
    )


class Timings(BaseModel):
    """Milliseconds."""

    waited: float = Field(description="time in queues")
    encode: float
    search: float
    total: float = Field(description="time since the whole request arrived")


class SearchAnswer(BaseModel):
    """The hits, nearest first."""

    query: Query
    collection: str
    release: AnswerRelease
    warning: str | None = Field(description="set if the results are meaningless")
    accuracy: Accuracy
    measured_recall: Recall | None = Field(
        description="recall@10 of such searches, measured before the release was published, with "
        "its lower bound at 95 % confidence; with a filter, the lowest that was measured"
    )
    timings_ms: Timings
    complete: bool = Field(
        description="false if the search stopped at its limit with fewer than k hits; more images "
        "may match"
    )
    depth: int = Field(
        description="how many of the nearest images were examined for these hits, including those "
        "of earlier pages and those that were omitted"
    )
    cursor: str | None = Field(description="for the next page; null if this is the last")
    hits: list[HitOut]


class BatchItem(BaseModel):
    """The answer to one search of a batch, or why it has none."""

    answer: SearchAnswer | None = None
    problem: "Problem | None" = None


class BatchAnswer(BaseModel):
    """An item for each search, in the order of the request."""

    items: list[BatchItem]


class Embeddings(BaseModel):
    """Unit vectors by the live release's model, one for each text or image, in the same order."""

    collection: str
    model: str
    identity_key: str = Field(description="only vectors of equal keys are comparable")
    dim: int
    vectors: list[list[float]]


class Comparison(BaseModel):
    """The answers of two releases to one query."""

    overlap: float | None = Field(
        description="the share of hits that both answers have; null if neither has any"
    )
    answers: tuple[SearchAnswer, SearchAnswer]


class Problem(BaseModel):
    """The body of every error response, as in RFC 9457."""

    title: str
    status: int
    code: str = Field(description="what went wrong, for programs; codes never change")
    detail: str = Field(description="what went wrong and what to do, for people")


def warning(release: Release) -> str | None:
    return UNTRAINED if release.identity.untrained else None


def _fields(hit: Hit, settings: ServingSettings) -> dict[str, Any]:
    """What every record of an image has."""
    return {
        "image_id": hit.image_id,
        "uri": hit.uri,
        "caption": hit.caption,
        "width": hit.width,
        "height": hit.height,
        "sha256": hit.sha256,
        "thumbnail": f"{settings.path_prefix}/thumbnails/{hit.sha256}",
        "columns": hit.columns,
    }


def _lineage(hit: Hit, settings: ServingSettings) -> dict[str, Any]:
    run_url = _run_url(settings.dagster_url, hit.lineage.run_id)
    return {**hit.lineage._asdict(), "run_url": run_url}


def _original(
    hit: Hit, release: Release, settings: ServingSettings, asked: int | None
) -> str | None:
    """The address of the image itself; None if the service does not give it."""
    if not settings.gives(hit.uri):
        return None
    path = f"{settings.path_prefix}/v1/images/{quote(hit.image_id, safe='')}/original"
    of = {"collection": release.collection} | ({"release": asked} if asked else {})
    return f"{path}?{urlencode(of)}"


def _run_url(dagster_url: AnyHttpUrl | None, run_id: str) -> str | None:
    if dagster_url is None:
        return None
    return f"{str(dagster_url).rstrip('/')}/runs/{quote(run_id, safe='')}"
