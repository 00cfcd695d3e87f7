"""What a client says of a hit, and what it is told was said."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clip_assets.judgements.judgements import HumanJudgement, now

from .query import ImageId, InCollection, Text

Verdict = Literal["right", "wrong"]


class Judged(BaseModel):
    """A hit of a query, and whether it is right; the query is a text or a stored image."""

    model_config = ConfigDict(extra="forbid")

    query_text: Text | None = None
    query_image: ImageId | None = None
    image_id: ImageId
    verdict: Verdict | None = Field(description="null withdraws what was said before")
    collection: InCollection = None

    @model_validator(mode="after")
    def _has_one_query(self) -> Self:
        if (self.query_text is None) == (self.query_image is None):
            raise ValueError("give either `query_text` or `query_image`")
        return self

    def row(self, collection: str, judged_by: str) -> HumanJudgement:
        return HumanJudgement(
            collection,
            self.query_text or "",
            self.query_image or "",
            self.image_id,
            self.verdict == "right",
            judged_by,
            now(),
        )


class Wanted(BaseModel):
    """Which judgements are listed."""

    model_config = ConfigDict(extra="forbid")

    collection: InCollection = None
    query_text: Text | None = Field(None, description="only those of this query")
    query_image: ImageId | None = Field(None, description="only those of this query")
    after: int = Field(
        0, ge=0, le=2**63 - 1, description="`judgement_id` of the last one of the page before"
    )
    limit: int = Field(1_000, ge=1, le=1_000)

    @property
    def query(self) -> tuple[str, str] | None:
        """What was searched for; None for all queries."""
        found = (self.query_text or "", self.query_image or "")
        return found if any(found) else None


class JudgementOut(BaseModel):
    """A person's word on an image for a query, which names no model."""

    collection: str
    query_text: str | None
    query_image: str | None
    image_id: str
    verdict: Verdict | None = Field(description="null if it was withdrawn")
    judged_by: str | None = Field(description="name of the key; null if none is known")
    judged_at: datetime
    judgement_id: int | None = Field(description="null in the answer to POST")

    @classmethod
    def of(cls, row: HumanJudgement, verdict: Verdict | None) -> Self:
        return cls(
            collection=row.collection,
            query_text=row.query_text or None,
            query_image=row.query_image or None,
            image_id=row.image_id,
            verdict=verdict,
            judged_by=row.judged_by or None,
            judged_at=row.judged_at,
            judgement_id=row.judgement_id or None,
        )
