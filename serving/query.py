"""What a search may ask for."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    WithJsonSchema,
    model_validator,
)

from clip_assets.search.accuracy import Accuracy
from clip_assets.search.conditions import Conditions, from_address
from clip_assets.search.filters import Filter

MAX_K = 1_000
MAX_TERMS = 16
MAX_BATCH = 16


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
MinScore = Annotated[
    float | None, Field(ge=-1, le=1, description="return only hits with at least this score")
]
CursorText = Annotated[
    str | None,
    Field(max_length=24_000, description="`cursor` of the previous page; only `k` may differ"),
]
HowAccurate = Annotated[
    Accuracy,
    Field(
        description="`balanced` searches as the release was judged, `fast` has a measured recall "
        "of at least 0.9, `exact` compares all images"
    ),
]
Inclusion = Literal["lineage", "original", "vector", "query_vector"]
Included = Annotated[
    tuple[Inclusion, ...],
    Field(
        max_length=4,
        description="further fields of each hit: `original` is its address; `query_vector` adds "
        "`vector` to `query`",
    ),
]
ReleaseId = Annotated[
    int | None,
    Field(ge=1, le=2**63 - 1, description="a published release; default: the live one"),
]
CollectionName = Annotated[str, Field(max_length=200), AfterValidator(_without_nul)]
InCollection = Annotated[
    CollectionName | None,
    Field(description="default: the collection that this service serves"),
]


FilterInAddress = Annotated[
    Filter | None,
    BeforeValidator(from_address),
    WithJsonSchema({"type": "string"}),
    Field(description="a whole `filter` as JSON, with `all`, `any` and `not`"),
]


Similar = Annotated[
    float | None,
    Field(
        ge=0.8,
        le=1,
        description="of images whose vectors have at least this cosine similarity, such as 0.97, "
        "return only the nearest; all pages together then have at most 1,000 hits",
    ),
]


class Term(BaseModel):
    """One thing to search for, or to search away from: a text, a stored image or a vector."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    image_id: ImageId | None = None
    vector: tuple[FiniteFloat, ...] | None = Field(
        None, min_length=1, max_length=4_096, description="by the release's model; of any norm"
    )
    weight: FiniteFloat = Field(
        1.0, ge=-10, le=10, description="a negative weight searches away from the term; not 0"
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if sum(part is not None for part in (self.text, self.image_id, self.vector)) != 1:
            raise ValueError("give one of `text`, `image_id` and `vector`")
        if self.weight == 0:
            raise ValueError("`weight` must not be 0")
        return self


class SearchOptions(BaseModel):
    """How many hits, which ones, and what each of them has."""

    model_config = ConfigDict(extra="forbid")

    k: Count = 24
    min_score: MinScore = None
    exclude_ids: tuple[ImageId, ...] = Field(
        (), max_length=100, description="images to omit from the hits"
    )
    collapse_duplicates: bool = Field(
        False, description="return only one of the images with identical files"
    )
    collapse_similar: Similar = None
    filter: Filter | None = Field(None, description="return only images that match")
    cursor: CursorText = None
    accuracy: HowAccurate = "balanced"
    include: Included = ("lineage",)
    collection: InCollection = None
    release: ReleaseId = None


class SearchRequest(SearchOptions):
    """A text, the id of a stored image to find similar images for, or several terms."""

    text: Text | None = None
    image_id: ImageId | None = None
    terms: tuple[Term, ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TERMS,
        description="searched for together, as the weighted sum of their unit vectors",
    )

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if sum(part is not None for part in (self.text, self.image_id, self.terms)) != 1:
            raise ValueError("give either `text`, `image_id` or `terms`")
        return self

    @property
    def all_terms(self) -> tuple[Term, ...]:
        return self.terms or (Term(text=self.text, image_id=self.image_id),)


class AddressQuery(Conditions):
    """The same search in an address, for links and curl; the filter's fields are parameters."""

    q: Text | None = Field(None, description="the text to search for")
    image_id: ImageId | None = Field(None, description="or the image to find similar images for")
    k: Count = 24
    min_score: MinScore = None
    collapse_duplicates: bool = False
    collapse_similar: Similar = None
    cursor: CursorText = None
    accuracy: HowAccurate = "balanced"
    collection: InCollection = None
    release: ReleaseId = None
    filter: FilterInAddress = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if (self.q is None) == (self.image_id is None):
            raise ValueError("give either `q` or `image_id`")
        return self

    @property
    def request(self) -> SearchRequest:
        flat = {name: getattr(self, name) for name in Conditions.model_fields}
        only = Filter(**flat, all=(self.filter,) if self.filter else None)
        return SearchRequest(
            text=self.q,
            image_id=self.image_id,
            k=self.k,
            min_score=self.min_score,
            collapse_duplicates=self.collapse_duplicates,
            collapse_similar=self.collapse_similar,
            filter=None if only.is_empty else only,
            cursor=self.cursor,
            accuracy=self.accuracy,
            collection=self.collection,
            release=self.release,
        )


class BatchRequest(BaseModel):
    """Several searches in one request, which share its deadline."""

    model_config = ConfigDict(extra="forbid")

    searches: tuple[SearchRequest, ...] = Field(min_length=1, max_length=MAX_BATCH)


class EmbedRequest(BaseModel):
    """Texts to encode with the live release's model."""

    model_config = ConfigDict(extra="forbid")

    texts: tuple[Text, ...] = Field(min_length=1, max_length=MAX_BATCH)
    collection: InCollection = None
    release: ReleaseId = None


class CompareRequest(BaseModel):
    """One query, searched in two releases of a collection."""

    model_config = ConfigDict(extra="forbid")

    query: SearchRequest = Field(description="its own `release` and `cursor` are ignored")
    releases: tuple[
        Annotated[int, Field(ge=1, le=2**63 - 1)], Annotated[int, Field(ge=1, le=2**63 - 1)]
    ]


def filter_of_form(text: str) -> Filter | None:
    """The filter in a form's field, as JSON. Raises ValueError if it is invalid."""
    return Filter.model_validate_json(text) if text else None
