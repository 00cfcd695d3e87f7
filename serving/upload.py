"""Decodes an uploaded file with the same decoder that made the index, in little memory.

The model sees a few hundred pixels a side, so a query needs no more than a few million, whatever a
small file may expand to.
"""

import io
from dataclasses import dataclass, replace

from PIL import Image

from clip_assets.node.decode import QUERY, Rejected, decode

from .errors import UnusableImage

_PROGRESSIVE_PIXELS = 10_000_000  # its coefficients are held whole: 6 bytes a pixel
_SCALES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Budget:
    """Pixels to decode, and pixels of a JPEG, which can be decoded at a fraction of its size."""

    pixels: int
    jpeg_pixels: int


def decoded(data: bytes, budget: Budget) -> Image.Image:
    """The RGB image in `data`; of a large JPEG, smaller. Raises UnusableImage with the reason."""
    try:
        data = _reduced(data, budget)
        limits = replace(QUERY, max_bytes=len(data), max_pixels=budget.pixels)
        return decode(data, limits).image
    except Rejected as rejected:
        remedy = " Scale it down to 1,000 pixels a side." if "pixels" in rejected.reason else ""
        raise UnusableImage(
            f"Cannot search with this file: {rejected.reason}.{remedy}"
        ) from rejected


def _reduced(data: bytes, budget: Budget) -> bytes:
    """A JPEG with too many pixels as a smaller PNG, decoded in a fraction of the time and memory;
    anything else unchanged."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
    except Exception:  # any class, as in `decode`, which says what is wrong
        return data
    pixels = image.width * image.height
    if pixels <= budget.pixels:
        return data
    _refuse_large(pixels, budget, bool(image.info.get("progressive")))
    scale = next((s for s in _SCALES if pixels <= budget.pixels * s * s), _SCALES[-1])
    image.draft(None, (image.width // scale, image.height // scale))
    file = io.BytesIO()
    try:
        image.convert("RGB").save(file, "PNG", compress_level=0, exif=image.getexif())
    except Exception as error:  # as above
        raise Rejected("damaged JPEG") from error
    return file.getvalue()


def _refuse_large(pixels: int, budget: Budget, progressive: bool) -> None:
    kind, most = "JPEG", budget.jpeg_pixels
    if progressive:
        kind, most = "progressive JPEG", min(most, _PROGRESSIVE_PIXELS)
    if pixels > most:
        raise Rejected(
            f"too many pixels for a {kind} ({pixels / 1e6:.0f} million, at most {most / 1e6:.0f})"
        )
