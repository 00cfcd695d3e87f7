"""Search filters: an allow-list of columns, each with a database index."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, LiteralString

from psycopg import sql
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from clip_assets.search.statements import statement


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(_without_nul)]
_Pixels = Annotated[int, Field(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class Predicate:
    """A condition on rows of an index's table, and the values to bind to it."""

    condition: LiteralString
    values: dict[str, Any]


class Filter(BaseModel):
    """Which images a search may return; they must match every part that is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: tuple[_Text, ...] | None = Field(
        None, min_length=1, max_length=1_000, description="in one of these shards"
    )
    uri_prefix: _Text | None = Field(
        None, description="the source address starts with this: a folder, a bucket prefix, a tar"
    )
    words: _Text | None = Field(
        None, description="the caption contains all of these words, in any order and case"
    )
    min_width: _Pixels | None = Field(None, description="pixels")
    max_width: _Pixels | None = Field(None, description="pixels")
    min_height: _Pixels | None = Field(None, description="pixels")
    max_height: _Pixels | None = Field(None, description="pixels")

    @property
    def predicate(self) -> Predicate | None:
        """None if nothing is filtered."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        if not any(value is not None for value in values.values()):
            return None
        values["shards"] = self.shards and list(self.shards)
        return Predicate(condition(sql.Placeholder), values)


@cache
def condition(name: type[sql.Placeholder] | type[sql.Identifier]) -> LiteralString:
    """The condition of a filter: over bound values, or over the arguments of an SQL function."""
    parts = statement("filter", **{field: name(field) for field in Filter.model_fields})
    return parts.as_string()
