"""The query of a judgement: texts and stored images, which every model can search for.

A judged query cannot have vectors, which belong to one model, or uploaded pictures, which are not
stored: a later model could not repeat the search.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, model_validator


class JudgedTerm(BaseModel):
    """A text or the id of a stored image, with its weight; a negative weight searches away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(None, min_length=1)
    image_id: str | None = Field(None, min_length=1)
    weight: FiniteFloat = Field(1.0, ge=-10, le=10)

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.text is None) == (self.image_id is None):
            raise ValueError("give either `text` or `image_id`")
        if self.weight == 0:
            raise ValueError("`weight` must not be 0")
        if "\0" in (self.text or self.image_id or ""):
            raise ValueError("must not contain a NUL character")
        return self


TERMS = TypeAdapter(Annotated[tuple[JudgedTerm, ...], Field(min_length=1)])


@dataclass(frozen=True)
class Query:
    """Terms that are searched for together, in a fixed order so that equal queries are equal."""

    terms: tuple[JudgedTerm, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.terms, key=lambda term: term.model_dump_json())
        if len(ordered) == 1 and ordered[0].weight > 0:  # of one term, only the sign matters
            ordered = [ordered[0].model_copy(update={"weight": 1.0})]
        object.__setattr__(self, "terms", tuple(ordered))

    @classmethod
    def of(cls, *, text: str = "", image_id: str = "") -> Self:
        """The query for a text, or for images like a stored one."""
        return cls((JudgedTerm(text=text or None, image_id=image_id or None),))

    @property
    def text(self) -> str:
        """The text, if the query is one text; otherwise empty."""
        return (self._only and self._only.text) or ""

    @property
    def image_id(self) -> str:
        """The image, if the query is one stored image; otherwise empty."""
        return (self._only and self._only.image_id) or ""

    @property
    def several(self) -> tuple[JudgedTerm, ...]:
        """The terms, if the query is neither one text nor one image; otherwise none."""
        return () if self._only else self.terms

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(term.text for term in self.terms if term.text is not None)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(term.image_id for term in self.terms if term.image_id is not None)

    @property
    def _only(self) -> JudgedTerm | None:
        first, *others = self.terms
        return first if not others and first.weight == 1 else None
