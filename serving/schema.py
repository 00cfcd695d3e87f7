"""The request and response models of the API, with the descriptions shown in its documentation."""

from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

from clip_assets.model import ModelIdentity
from clip_assets.search.filters import Filter
from clip_assets.search.search import Hit, Release
from serving.settings import ServingSettings

MAX_K = 100
UNTRAINED = "untrained model: results are meaningless"


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text.strip()


Text = Annotated[
    str, Field(max_length=1_000), AfterValidator(_without_nul), AfterValidator(_not_blank)
]
ImageId = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(_without_nul)]
Count = Annotated[int, Field(ge=1, le=MAX_K, description="how many hits")]
CollectionName = Annotated[str, Field(max_length=200), AfterValidator(_without_nul)]
InCollection = Annotated[
    CollectionName | None,
    Field(description="default: the collection that this service follows"),
]


class SearchRequest(BaseModel):
    """A text, or the id of a stored image to find similar images for; not both."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    image_id: ImageId | None = None
    k: Count = 24
    filter: Filter | None = Field(None, description="return only images that match")
    collection: InCollection = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.text is None) == (self.image_id is None):
            raise ValueError("give either `text` or `image_id`")
        return self


def filter_of_form(text: str) -> Filter | None:
    """The filter of a form, whose field holds JSON. Raises ValueError if it is invalid."""
    return Filter.model_validate_json(text) if text else None


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


class Query(BaseModel):
    """The query as the service understood it."""

    kind: Literal["text", "image_id", "upload"]
    text: str | None = None
    image_id: str | None = None


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


class ErrorDetail(BaseModel):
    """`code` is for programs, `message` for people."""

    code: str
    message: str


class ErrorOut(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


def warning(release: Release) -> str | None:
    return UNTRAINED if release.identity.untrained else None


def _run_url(dagster_url: AnyHttpUrl | None, run_id: str) -> str | None:
    if dagster_url is None:
        return None
    return f"{str(dagster_url).rstrip('/')}/runs/{quote(run_id, safe='')}"
