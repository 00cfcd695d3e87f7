"""How many rows a PNG lacks: Pillow takes one whose pixels end early for whole, and fills up."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST = 1 << 20
"""Bytes that are inflated at once."""


def missing_rows(data: bytes, image: Image.Image) -> int:
    """Rows that a decoded PNG, the `image`, has no data for; 0 if it is interlaced.

    Inflates the pixels again, but only if the last row is of the value that Pillow fills up with.
    """
    depth, colour, *_, interlaced = data[24:29]
    last = image.crop((0, image.height - 1, image.width, image.height))
    if interlaced or any(last.tobytes()):
        return 0
    row = 1 + (image.width * _CHANNELS[colour] * depth + 7) // 8
    return image.height - min(_inflated(data, row * image.height) // row, image.height)


def _inflated(data: bytes, enough: int) -> int:
    """Bytes of pixels, counted up to `enough`."""
    stream, size = zlib.decompressobj(), 0
    for chunk in _pixel_chunks(data):
        rest = chunk
        while rest and size < enough and not stream.eof:
            size += len(stream.decompress(rest, _MOST))
            rest = stream.unconsumed_tail
    return size + len(stream.flush(_MOST))


def _pixel_chunks(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            yield data[at + 8 : at + 8 + size]
        at += size + 12
