"""Request and response models for judgements of hits."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from clip_assets.judgements.judgements import HumanJudgement, now
from clip_assets.judgements.query import TERMS, JudgedTerm, Query

from .query import MAX_TERMS, ImageId, InCollection, Term, Text

Verdict = Literal["right", "wrong"]


def _without_vectors(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    if any(term.vector is not None for term in terms):
        raise ValueError(
            "a search by a vector cannot be judged, because no later model could repeat it; to "
            "judge hits of an uploaded picture, add it to the collection and search by its image_id"
        )
    return terms


_Terms = Annotated[
    tuple[Term, ...], Field(min_length=1, max_length=MAX_TERMS), AfterValidator(_without_vectors)
]
_TERMS: TypeAdapter[tuple[Term, ...]] = TypeAdapter(_Terms)


def _query(text: str | None, image: str | None, terms: tuple[Term, ...] | None) -> Query:
    """Raises ValueError if not exactly one of them is given."""
    if sum(part is not None for part in (text, image, terms)) != 1:
        raise ValueError("give one of `query_text`, `query_image` and `query_terms`")
    if terms:
        plain = [term.model_dump(exclude={"vector"}) for term in terms]
        return Query(TERMS.validate_python(plain))
    return Query.of(text=text or "", image_id=image or "")


class Judged(BaseModel):
    """A hit of a query, and whether it is right. The query is a text, a stored image, or several
    terms."""

    model_config = ConfigDict(extra="forbid")

    query_text: Text | None = None
    query_image: ImageId | None = None
    query_terms: _Terms | None = Field(None, description="texts and stored images, no vectors")
    image_id: ImageId
    verdict: Verdict | None = Field(description="null withdraws the earlier verdict")
    collection: InCollection = None

    @model_validator(mode="after")
    def _has_one_query(self) -> Self:
        _ = self.query
        return self

    @property
    def query(self) -> Query:
        return _query(self.query_text, self.query_image, self.query_terms)

    def row(self, collection: str, judged_by: str) -> HumanJudgement:
        is_right = self.verdict == "right"
        return HumanJudgement(collection, self.query, self.image_id, is_right, judged_by, now())


class Wanted(BaseModel):
    """Which judgements to list."""

    model_config = ConfigDict(extra="forbid")

    collection: InCollection = None
    query_text: Text | None = Field(None, description="only those of this query")
    query_image: ImageId | None = Field(None, description="only those of this query")
    query_terms: str | None = Field(
        None, max_length=16_384, description="only those of this query; the terms as JSON"
    )
    after: int = Field(
        0, ge=0, le=2**63 - 1, description="`judgement_id` of the previous page's last judgement"
    )
    limit: int = Field(1_000, ge=1, le=1_000)

    @model_validator(mode="after")
    def _has_no_two_queries(self) -> Self:
        _ = self.query
        return self

    @property
    def query(self) -> Query | None:
        """The query whose judgements to list; None for all queries."""
        asked = (self.query_text, self.query_image, self.query_terms)
        if not any(asked):
            return None
        try:
            terms = _TERMS.validate_json(self.query_terms) if self.query_terms else None
        except ValidationError as error:
            raise ValueError("query_terms: must be terms as in POST, as JSON") from error
        return _query(self.query_text, self.query_image, terms)


class JudgementOut(BaseModel):
    """A person's verdict on an image for a query, independent of the model."""

    collection: str
    query_text: str | None
    query_image: str | None
    query_terms: list[JudgedTerm] | None
    image_id: str
    verdict: Verdict | None = Field(description="null if it was withdrawn")
    judged_by: str | None = Field(description="name of the key; null if there was none")
    judged_at: datetime
    judgement_id: int | None = Field(description="null in the answer to POST")

    @classmethod
    def of(cls, row: HumanJudgement, verdict: Verdict | None) -> Self:
        return cls(
            collection=row.collection,
            query_text=row.query.text or None,
            query_image=row.query.image_id or None,
            query_terms=list(row.query.several) or None,
            image_id=row.image_id,
            verdict=verdict,
            judged_by=row.judged_by or None,
            judged_at=row.judged_at,
            judgement_id=row.judgement_id or None,
        )
