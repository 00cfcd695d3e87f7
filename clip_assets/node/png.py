"""What Pillow does not report of a PNG: which rows are missing, and where it is transparent."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST = 1 << 20
"""Bytes to inflate at a time."""


def missing_rows(data: bytes, image: Image.Image) -> int:
    """The number of rows of the decoded PNG `image` that have no data; 0 if it is interlaced.

    Inflates the pixels again, but only if the last row has the value that Pillow fills in.
    """
    depth, colour, *_, interlaced = data[24:29]
    last = image.crop((0, image.height - 1, image.width, image.height))
    if interlaced or any(last.tobytes()):
        return 0
    row = 1 + (image.width * _CHANNELS[colour] * depth + 7) // 8
    return image.height - min(_inflated(data, row * image.height) // row, image.height)


def lower_bytes(data: bytes) -> Image.Image:
    """The lower 8 bits of the samples of an RGB PNG with 16 bits a sample, which Pillow drops."""
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]  # the other byte of two
    image.load()
    return image


def opacity(image: Image.Image, depth: int, lower: Image.Image | None) -> Image.Image:
    """An image in mode L: 0 where a PNG without alpha or palette has its transparent colour, else
    255.

    The colour is stored like a pixel, with `depth` bits a sample. `lower` is the result of
    `lower_bytes` for RGB with 16 bits.
    """
    colour = np.array(image.info["transparency"])
    if image.mode.startswith("I;16"):
        clear = np.asarray(image) == colour
    elif image.mode == "RGB":
        upper = colour >> 8 if lower else colour & 255
        clear = (np.asarray(image) == upper).all(axis=-1)
        if lower:
            clear &= (np.asarray(lower) == colour & 255).all(axis=-1)
    else:
        stored = colour & 255 if depth == 8 else colour * 255 / ((1 << depth) - 1)
        clear = np.asarray(image.convert("L")) == stored
    return Image.fromarray(np.where(clear, np.uint8(0), np.uint8(255)))


def _inflated(data: bytes, enough: int) -> int:
    """The number of inflated bytes of pixels, counted up to `enough`."""
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
