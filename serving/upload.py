"""Decodes an uploaded file with the same decoder that made the index, in little memory.

The model sees a few hundred pixels a side, so a query needs no more than a few million pixels, even
if a small file expands to many more.
"""

import io
from dataclasses import dataclass, replace

from PIL import Image

from clip_assets.node.decode import QUERY, Rejected, decode

from .errors import UnusableImage

_PROGRESSIVE_PIXELS = 10_000_000  # all coefficients are held in memory: 6 bytes a pixel
_SMALLEST_FRACTION = 8  # of a JPEG's sides


@dataclass(frozen=True)
class Budget:
    """Pixels to decode, and pixels of a JPEG, which can be decoded at a fraction of its size."""

    pixels: int
    jpeg_pixels: int


def decoded(data: bytes, budget: Budget, enough: int | None = None) -> Image.Image:
    """The RGB image in `data`. A large JPEG is decoded smaller, with sides of at least `enough`
    pixels if the budget allows. Raises UnusableImage with the reason."""
    try:
        _refuse_large(data, budget)
        limits = replace(
            QUERY,
            max_bytes=len(data),
            max_pixels=budget.pixels,
            max_reduction=_SMALLEST_FRACTION,
        )
        return decode(data, limits, enough).image
    except Rejected as rejected:
        remedy = " Scale it down to 1,000 pixels a side." if "pixels" in rejected.reason else ""
        raise UnusableImage(
            f"Cannot search with this file: {rejected.reason}.{remedy}"
        ) from rejected


def _refuse_large(data: bytes, budget: Budget) -> None:
    """Raises Rejected if a JPEG's header says that it is too large."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
    except Exception:  # Pillow raises many classes; `decode` then reports the fault
        return
    pixels = image.width * image.height
    if pixels <= budget.pixels:
        return
    kind, most = "JPEG", budget.jpeg_pixels
    if image.info.get("progressive"):
        kind, most = "progressive JPEG", min(most, _PROGRESSIVE_PIXELS)
    if pixels > most:
        raise Rejected(
            f"too many pixels for a {kind} ({pixels / 1e6:.0f} million, at most {most / 1e6:.0f})"
        )
