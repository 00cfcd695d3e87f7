"""The response models of the API, with the descriptions shown in its documentation."""

from datetime import datetime
from typing import Literal, Self
from urllib.parse import quote

from pydantic import AnyHttpUrl, BaseModel, Field

from clip_assets.model import ModelIdentity
from clip_assets.search.search import Hit, Release

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
        description="the value of each declared column; null where nothing is known"
    )
    lineage: LineageOut

    @classmethod
    def of(cls, hit: Hit, settings: ServingSettings) -> Self:
        """The record of a hit; called on `HitOut`, it returns a `HitOut`."""
        fields = {name: getattr(hit, name) for name in cls.model_fields if hasattr(hit, name)}
        lineage = {
            name: getattr(hit.lineage, name)
            for name in LineageOut.model_fields
            if hasattr(hit.lineage, name)
        }
        lineage["run_url"] = _run_url(settings.dagster_url, hit.lineage.run_id)
        fields["thumbnail"] = f"{settings.path_prefix}/thumbnails/{hit.sha256}.webp"
        return cls.model_validate({**fields, "lineage": lineage})


class HitOut(ImageOut):
    """One image and its similarity to the query."""

    score: float = Field(description="cosine similarity, -1 to 1")


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
        None, description="the start of the text that fits the model; null if all of it does"
    )
    image_id: str | None = None
    weight: float = 1.0


class Query(BaseModel):
    """The query as the service understood it."""

    kind: Literal["text", "image_id", "upload", "terms"]
    text: str | None = None
    read: str | None = Field(
        None, description="the start of the text that fits the model; null if all of it does"
    )
    image_id: str | None = None
    terms: list[TermOut] | None = None


class Took(BaseModel):
    """Milliseconds, without time spent in queues."""

    encode: float
    search: float


class SearchAnswer(BaseModel):
    """The hits, nearest first."""

    query: Query
    collection: str
    release: AnswerRelease
    warning: str | None = Field(description="set if the results are meaningless")
    took_ms: Took
    complete: bool = Field(
        description="false if search stopped at its limit with fewer than k hits; more images may "
        "match"
    )
    hits: list[HitOut]


class Problem(BaseModel):
    """The body of every error response, as in RFC 9457."""

    title: str
    status: int
    code: str = Field(description="what went wrong, for programs; the codes never change")
    detail: str = Field(description="what went wrong and what to do, for people")


def warning(release: Release) -> str | None:
    return UNTRAINED if release.identity.untrained else None


def _run_url(dagster_url: AnyHttpUrl | None, run_id: str) -> str | None:
    if dagster_url is None:
        return None
    return f"{str(dagster_url).rstrip('/')}/runs/{quote(run_id, safe='')}"
