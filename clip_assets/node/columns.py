"""The declared columns of an image, from the catalog and from the file itself."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from clip_assets.column import Column, Value, parsed
from clip_assets.source import ImageRef
from clip_assets.source.joins import declared

_EXIF = "exif."


def of_file(column: Column) -> bool:
    """Whether its values are in the image files."""
    return column.origin.startswith(_EXIF)


def exif_tags(columns: Mapping[str, Column]) -> frozenset[str]:
    """The EXIF tags that the columns need."""
    return frozenset(
        column.origin.removeprefix(_EXIF) for column in columns.values() if of_file(column)
    )


def known(
    columns: Mapping[str, Column], ref: ImageRef, exif: Mapping[str, Any]
) -> dict[str, Value | None]:
    """The value of each declared column; None for an EXIF tag that is not of the column's type."""
    found = declared(columns, ref.columns)
    for name, column in columns.items():
        if of_file(column):
            found[name] = None
            with suppress(ValueError):  # cameras without a clock write 0000:00:00
                found[name] = parsed(column.type, exif.get(column.origin.removeprefix(_EXIF)))
    return found
