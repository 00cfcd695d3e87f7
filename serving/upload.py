"""Decodes an uploaded file with the same decoder that made the index."""

from dataclasses import replace

from PIL.Image import Image

from clip_assets.node.decode import QUERY, Rejected, decode
from serving.errors import UnusableImage


def decoded(data: bytes, max_bytes: int, max_pixels: int) -> Image:
    """The RGB image in `data`. Raises UnusableImage with the decoder's reason."""
    try:
        return decode(data, replace(QUERY, max_bytes=max_bytes, max_pixels=max_pixels)).image
    except Rejected as rejected:
        raise UnusableImage(f"Cannot search with this file: {rejected.reason}.") from rejected
