"""Captions found beside images, cleaned for parquet and Postgres."""

import codecs
import json
from collections.abc import Mapping
from typing import Any

LONGEST = 10_000  # characters; the text tower reads only 77 tokens
LARGEST = 1 << 20  # bytes of a caption file; anything larger is not a caption


def clean(text: str) -> str | None:
    """The text without characters that UTF-8 or Postgres rejects; None if nothing is left."""
    valid = text.encode("utf-8", "replace").decode()
    return valid.replace("\0", "").strip()[:LONGEST] or None


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 with a byte order mark, or else Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def from_text(data: bytes) -> str | None:
    return clean(decoded(data))


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one if the text is not a JSON object."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def from_fields(fields: Mapping[str, Any]) -> str | None:
    """Field `caption`, else `text`; None if it has neither."""
    return from_value(fields.get("caption") or fields.get("text"))


def from_value(value: object) -> str | None:
    """The caption, or the first of several."""
    if isinstance(value, list):
        value = next((item for item in value if item), None)
    return None if value is None else clean(str(value))
