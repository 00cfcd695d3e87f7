"""Search filters: conditions on images, combined by `all`, `any` and `not`."""

from collections.abc import Iterator
from itertools import count
from typing import Annotated, LiteralString, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from clip_assets.column import NO_COLUMNS, Columns
from clip_assets.search.conditions import Conditions, Predicate

DEEPEST = 5
MOST_PARTS = 64
"""The most filters in a filter, itself included: enough for people, and few enough to plan fast."""


def _not_empty(part: "Filter") -> "Filter":
    if part.is_empty:
        raise ValueError("must have a condition")
    return part


_Part = Annotated["Filter", AfterValidator(_not_empty)]
_Parts = Annotated[tuple[_Part, ...], Field(min_length=1, max_length=MOST_PARTS)]


class Filter(Conditions):
    """Which images a search may return; they must match every part that is given.

    `not` matches the images that its filter does not match, also those without a value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    all: _Parts | None = Field(None, description="they match each of these filters")
    any: _Parts | None = Field(None, description="they match at least one of these filters")
    not_: _Part | None = Field(None, alias="not", description="they do not match this filter")

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self._depth > DEEPEST:
            raise ValueError(f"filters must not be nested more than {DEEPEST} deep")
        if self._count > MOST_PARTS:
            raise ValueError(f"a filter must have at most {MOST_PARTS} filters in it")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether every image matches."""
        return all(value in (None, {}) for value in dict(self).values())

    def predicate(self, declared: Columns = NO_COLUMNS) -> Predicate | None:
        """None if nothing is filtered. `declared` are the columns of the release.

        Raises FilterError if a column is not declared, or a value is not of its type.
        """
        return None if self.is_empty else self._predicate(declared, count(), "")

    @property
    def _parts(self) -> tuple["Filter", ...]:
        return (*(self.all or ()), *(self.any or ()), *((self.not_,) if self.not_ else ()))

    @property
    def _depth(self) -> int:
        return 1 + max((part._depth for part in self._parts), default=0)

    @property
    def _count(self) -> int:
        return 1 + sum(part._count for part in self._parts)

    def _predicate(self, declared: Columns, numbers: Iterator[int], prefix: str) -> Predicate:
        def of(part: Filter) -> Predicate:
            return part._predicate(declared, numbers, f"{next(numbers)}.")

        found = self.conditions(declared, prefix)
        found += [of(part) for part in self.all or ()]
        if self.any:
            found.append(_joined("\nOR ", [of(part) for part in self.any]))
        if self.not_:
            inner = of(self.not_)
            found.append(Predicate(f"({inner.condition}) IS NOT TRUE", inner.values))
        return _joined("\nAND ", found)


def _joined(by: LiteralString, predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 1:
        return predicates[0]
    condition = by.join(f"({one.condition})" for one in predicates)
    return Predicate(condition, {name: v for one in predicates for name, v in one.values.items()})
