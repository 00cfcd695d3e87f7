"""Captions as they are found beside images, made fit for parquet and Postgres."""

import json

LONGEST = 10_000  # characters; the text tower reads 77 tokens, people read a little more
LARGEST = 1 << 20  # bytes of a caption file; anything above is not a caption


def clean(text: str) -> str | None:
    """The text without the characters that UTF-8 or Postgres refuse; None if nothing is left."""
    valid = text.encode("utf-8", "replace").decode()
    return valid.replace("\0", "").strip()[:LONGEST] or None


def from_text(data: bytes) -> str | None:
    return clean(data.decode("utf-8-sig", "replace"))


def from_json(data: bytes) -> str | None:
    """Field `caption`, else `text`, of a JSON object; None where there is neither."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return from_value(fields.get("caption") or fields.get("text"))


def from_value(value: object) -> str | None:
    """A caption, or the first of several."""
    if isinstance(value, list):
        value = next((item for item in value if item), None)
    return None if value is None else clean(str(value))
