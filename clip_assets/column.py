"""Columns that a collection declares: typed values of its images.

A value is null if it is unknown. Texts are cut to 500 characters, because Postgres cannot index
longer ones. A timestamp has no time zone; one with a zone is converted to UTC.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
"""A column's name must be valid in SQL, parquet and addresses."""

LONGEST_TEXT = 500  # characters, up to 2,000 bytes: a btree of Postgres takes 2,704

RESERVED = frozenset(
    {"image_id", "uri", "caption", "sha256", "width", "height", "thumbnail", "embedding"}
    | {"shard", "row", "version", "file", "filename", "shard_version", "run_id", "job_id"}
    | {"device", "model", "release_id", "loaded_at", "score", "distance", "columns"}
)
"""Names of the columns that every image has in parquet and views."""


class ColumnType(StrEnum):
    """The type of a column, by its SQL name."""

    TEXT = "text"
    BIGINT = "bigint"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"

    @property
    def ordered(self) -> bool:
        """Whether filters may be ranges."""
        return self not in (ColumnType.TEXT, ColumnType.BOOLEAN)


class Originated(BaseModel):
    """A block of YAML whose key `from`, a keyword of Python, is the field `origin`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def __getitem__(self, key: str) -> object:
        """The value of a key, because Dagster follows the YAML's keys to locate a fault."""
        return getattr(self, "origin" if key == "from" else key)


class Column(Originated):
    """A declared column: where its values come from, and their type."""

    origin: str = Field(
        alias="from",
        description="metadata.FIELD of a table beside the images, of a sample's JSON or of a "
        "dataset's column; or exif.TAG of the file itself, such as exif.DateTimeOriginal",
    )
    type: ColumnType = Field(ColumnType.TEXT, description="SQL type")

    @field_validator("origin")
    @classmethod
    def _is_an_origin(cls, origin: str) -> str:
        if not re.fullmatch(r"(metadata|exif)\..+", origin):
            raise ValueError("must be metadata.FIELD or exif.TAG")
        return origin

    @field_validator("type", mode="before")
    @classmethod
    def _integer_is_bigint(cls, value: object) -> object:
        return ColumnType.BIGINT if value in ("integer", "int") else value


Columns = Mapping[str, ColumnType]
"""The declared columns by name, in the order of their declaration."""

NO_COLUMNS: Columns = MappingProxyType({})

Value = str | int | float | bool | datetime | date

_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
_EXIF_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d)")


def require_declarable(name: str, column: Column) -> None:
    """Raises ValueError if no column can have this name, or if there is no such EXIF tag."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError(
            f"`{name}` cannot name a column: use at most 30 lower-case letters, digits and _, and "
            f"none of {', '.join(sorted(RESERVED))}"
        )
    tag = column.origin.removeprefix("exif.")
    if tag != column.origin:
        from PIL.ExifTags import GPSTAGS, TAGS

        if tag not in {*TAGS.values(), *GPSTAGS.values()}:
            raise ValueError(
                f"column {name}: EXIF has no tag {tag}; usual ones are DateTimeOriginal, Make, "
                "Model, LensModel, ISOSpeedRatings, FNumber, ExposureTime and FocalLength"
            )


def parsed(kind: ColumnType, value: object) -> Value | None:
    """The value as its column's type: str, int, float, bool, datetime without zone, or date.

    None for null, NaN, the empty text and the empty list; a list as a text is its items, joined by
    commas. Raises ValueError if the value is not of the type.
    """
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value if item is not None)
    if isinstance(value, str):
        value = value.replace("\0", "").strip()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        return _PARSERS[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{str(value)[:60]!r} is not a {kind}") from error


def as_json(value: Value | None) -> str | int | float | bool | None:
    """The value as JSON has it: dates and times are texts as in ISO 8601."""
    return value.isoformat() if isinstance(value, date) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    valid = str(value).encode("utf-8", "replace").decode()
    return valid[:LONGEST_TEXT]


def _bigint(value: Any) -> int:
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
    number = int(value)
    if number != value:
        raise ValueError("not a whole number")
    if not -(2**63) <= number < 2**63:
        raise ValueError("too large")
    return number


def _double(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _boolean(value: Any) -> bool:
    text = str(value).lower().removesuffix(".0")
    if text not in _TRUE | _FALSE:
        raise ValueError("neither true nor false")
    return text in _TRUE


def _timestamp(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(_EXIF_TIME.sub(r"\1-\2-\3", value, count=1))
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise TypeError("no time")
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    return _timestamp(value).date()


_PARSERS: dict[ColumnType, Callable[[Any], Value]] = {
    ColumnType.TEXT: _text,
    ColumnType.BIGINT: _bigint,
    ColumnType.DOUBLE: _double,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
}
