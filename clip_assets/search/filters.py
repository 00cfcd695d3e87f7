"""Search filters: an allow-list of columns, each with a database index, and the declared ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
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
    """Otherwise the error has a sentence for each kind of condition."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError(
            "must be a value, a list of up to 1,000 values, a range with `min` or `max`, or null"
        ) from error


_Wanted = Annotated[_Scalar | _Any | Between | None, WrapValidator(_one_sentence)]


def _from_address(value: object) -> object:
    """In an address, the columns are one JSON object."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError('must be a JSON object, such as {"label": "dog"}') from error


_DeclaredColumns = Annotated[
    dict[str, _Wanted], Field(max_length=32), BeforeValidator(_from_address)
]


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

    columns: _DeclaredColumns | None = Field(
        None,
        description="conditions on declared columns, by name: a value, a list of which one must "
        'match, {"min": …, "max": …} with either or both, or null for images without a value',
    )

    def predicate(self, declared: Columns | None = None) -> Predicate | None:
        """None if nothing is filtered. `declared` are the columns of the release.

        Raises FilterError if a column is not declared, or a value is not of its type.
        """
        values = {name: getattr(self, name) for name in BUILT_IN}
        conditions: list[LiteralString] = []
        if any(value is not None for value in values.values()):
            values["shards"] = self.shards and list(self.shards)
            conditions.append(condition(sql.Placeholder))
        else:
            values = {}
        for name, wanted in (self.columns or {}).items():
            kind = _require_declared(name, declared or {})
            values |= {f"{name}.{of}": bound for of, bound in _bound(name, kind, wanted).items()}
            conditions.append(column_condition(name, kind, sql.Placeholder))
        if not conditions:
            return None
        return Predicate("\nAND ".join(conditions), values)


BUILT_IN = tuple(name for name in Filter.model_fields if name != "columns")
"""The fields about what every image has."""


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
"""What is bound of a condition on a declared column."""

_Named = type[sql.Placeholder] | type[sql.Identifier]


@cache
def condition(name: _Named) -> LiteralString:
    """The condition of a filter on what every image has: over bound values, or over the arguments
    of an SQL function."""
    return statement("filter", **{field: name(field) for field in BUILT_IN}).as_string()


@cache
def column_condition(column: str, kind: ColumnType, name: _Named) -> LiteralString:
    """The condition on one declared column, over values or variables named `column.part`."""
    parts: Mapping[str, sql.Composable] = {part: name(f"{column}.{part}") for part in PARTS}
    in_table = sql.Identifier(table_column(column, kind))
    return statement(
        "filter_column", column=in_table, type=sql.SQL(SQL_TYPES[kind]), **parts
    ).as_string()
