"""Conditions on images: on a fixed list of columns and on declared columns; all are indexed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Annotated, Any, LiteralString

from psycopg import sql
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from clip_assets.column import Columns, ColumnType, Value, parsed
from clip_assets.errors import FilterError
from clip_assets.index.columns import SQL_TYPES, table_column
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


_Scalar = (
    StrictBool
    | StrictInt
    | FiniteFloat
    | Annotated[str, Field(max_length=4_096), AfterValidator(_without_nul)]
)


class Between(BaseModel):
    """A range that includes its ends; of numbers, timestamps and dates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: _Scalar | None = None
    max: _Scalar | None = None


_Any = Annotated[tuple[_Scalar, ...], Field(min_length=1, max_length=1_000)]


def _one_sentence(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """One sentence, because pydantic would report an error for each kind of condition."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError(
            "must be a value, a list of up to 1,000 values, a range with `min` or `max`, or null"
        ) from error


_Wanted = Annotated[_Scalar | _Any | Between | None, WrapValidator(_one_sentence)]


def from_address(value: object) -> object:
    """The value of a parameter of an address, where an object is written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError('must be a JSON object, such as {"label": "dog"}') from error


_DeclaredColumns = Annotated[
    dict[str, _Wanted], Field(max_length=32), BeforeValidator(from_address)
]


class Conditions(BaseModel):
    """Conditions on an image; it must match every part that is given."""

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

    columns: _DeclaredColumns | None = Field(
        None,
        description="conditions on declared columns, by name: a value, a list of which one must "
        'match, {"min": …, "max": …} with either or both, or null for images without a value',
    )

    def conditions(self, declared: Columns, prefix: str = "") -> list[Predicate]:
        """All of these must be true. `declared` are the columns of the release, and `prefix` makes
        the names of the bound values unique in a statement.

        Raises FilterError if a column is not declared, or a value is not of its type.
        """
        found = []
        values = {name: getattr(self, name) for name in BUILT_IN}
        if any(value is not None for value in values.values()):
            values["shards"] = self.shards and list(self.shards)
            found.append(Predicate(_bound_condition(prefix), _prefixed(prefix, values)))
        for name, wanted in (self.columns or {}).items():
            kind = _require_declared(name, declared)
            bound = {f"{name}.{of}": value for of, value in _bound(name, kind, wanted).items()}
            condition = _bound_column(prefix, name, kind)
            found.append(Predicate(condition, _prefixed(prefix, bound)))
        return found


BUILT_IN = tuple(name for name in Conditions.model_fields if name != "columns")
"""The fields that concern columns of every image."""


def _prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


def _require_declared(name: str, declared: Columns) -> ColumnType:
    if name in declared:
        return declared[name]
    has = f"it declares {', '.join(declared)}" if declared else "it declares none"
    raise FilterError(f"This collection has no column {name!r}; {has}.")


def _bound(name: str, kind: ColumnType, wanted: object) -> dict[str, Any]:
    """The values to bind: `any` of these, from `min` to `max`, or `unknown`."""
    bound: dict[str, Any] = dict.fromkeys(PARTS)
    if wanted is None:
        return bound | {"unknown": True}
    if not isinstance(wanted, Between):
        several = wanted if isinstance(wanted, tuple) else (wanted,)
        return bound | {"any": [_value(name, kind, value) for value in several]}
    if not kind.ordered:
        raise FilterError(f"The column {name!r} is a {kind}; give a value or a list, not a range.")
    ends = {"min": wanted.min, "max": wanted.max}
    return bound | {of: _value(name, kind, end) for of, end in ends.items() if end is not None}


def _value(name: str, kind: ColumnType, value: object) -> Value:
    try:
        found = parsed(kind, value)
    except ValueError as error:
        raise FilterError(f"The column {name!r}: {error}.") from error
    if found is None:
        raise FilterError(f"The column {name!r}: an empty value matches nothing; null does.")
    return found


PARTS = ("any", "min", "max", "unknown")
"""A value to bind in a condition on a declared column."""

Named = Callable[[str], sql.Composable]
"""How a statement names a value: as a parameter, or as a variable of an SQL function."""


def condition(named: Named) -> LiteralString:
    """The condition on columns of every image: with bound values, or with the arguments of an SQL
    function."""
    return statement("filter", **{field: named(field) for field in BUILT_IN}).as_string()


def column_condition(column: str, kind: ColumnType, named: Named) -> LiteralString:
    """The condition on one declared column, with values or variables named `column.part`."""
    parts = {part: named(f"{column}.{part}") for part in PARTS}
    in_table = sql.Identifier(table_column(column, kind))
    return statement(
        "filter_column", column=in_table, type=sql.SQL(SQL_TYPES[kind]), **parts
    ).as_string()


@cache
def _bound_condition(prefix: str) -> LiteralString:
    return condition(lambda name: sql.Placeholder(prefix + name))


@lru_cache(1024)
def _bound_column(prefix: str, column: str, kind: ColumnType) -> LiteralString:
    return column_condition(column, kind, lambda name: sql.Placeholder(prefix + name))
