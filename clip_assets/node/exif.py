"""What a camera wrote into a file: the EXIF tags that a collection declares as columns."""

import io
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_BY_NAME = {name: number for number, name in ExifTags.TAGS.items()}
_GPS_BY_NAME = {name: number for number, name in ExifTags.GPSTAGS.items()}


def exif(data: bytes, tags: Collection[str]) -> dict[str, Any]:
    """The values of those of these tags that the file has, by name.

    Fractions are floats; GPSLatitude and GPSLongitude are degrees, negative in the south and the
    west. Damaged tags are omitted, and all tags of a file whose EXIF cannot be read.
    """
    if not tags:
        return {}
    found: dict[str, Any] = {}
    with suppress(Exception):  # any class: the input decides which Pillow code runs
        with Image.open(io.BytesIO(data)) as image:
            blocks = _blocks(image)
        for tag in tags:
            with suppress(Exception):
                found[tag] = _value(tag, blocks)
    return {tag: value for tag, value in found.items() if value is not None}


def _blocks(image: Image.Image) -> tuple[dict[int, Any], dict[int, Any]]:
    """The tags other than GPS, and the GPS tags, by number."""
    written = image.getexif()
    return {**written, **written.get_ifd(_IFDS[0])}, dict(written.get_ifd(_IFDS[1]))


def _value(tag: str, blocks: tuple[dict[int, Any], dict[int, Any]]) -> Any:
    plain, place = blocks
    if tag in ("GPSLatitude", "GPSLongitude"):
        degrees, minutes, seconds = map(float, place[_GPS_BY_NAME[tag]])
        sign = -1 if str(place.get(_GPS_BY_NAME[f"{tag}Ref"], ""))[:1] in ("S", "W") else 1
        return sign * (degrees + minutes / 60 + seconds / 3600)
    value = place[_GPS_BY_NAME[tag]] if tag in _GPS_BY_NAME else plain[_BY_NAME[tag]]
    if isinstance(value, bytes):
        return value.strip(b"\0 ").decode()
    if isinstance(value, str):
        return value.strip("\0 ")
    return float(value) if hasattr(value, "numerator") and not isinstance(value, int) else value
