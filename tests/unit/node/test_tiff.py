"""TIFFs of every kind of samples, written here because Pillow writes few of them."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_assets.node.decode import Rejected, decode

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR = 273, 277, 278, 279, 284
_COLORMAP, _EXTRA, _FORMAT = 320, 338, 339
INVERTED, GREY, RGB, PALETTE = 0, 1, 2, 3
SIGNED, FLOAT = 2, 3
PREMULTIPLIED, ALPHA = 1, 2

RAMP: NDArray[np.int64] = np.arange(256).reshape(8, 32)
"""Grey levels, int64[8, 32]."""
COLOURS: NDArray[np.int64] = np.stack([RAMP, RAMP[::-1], RAMP.T.reshape(8, 32)], axis=-1)
OPAQUE = np.tile(np.linspace(0, 255, 32).astype(int), (8, 1))


def tiff(
    samples: NDArray[Any] | Sequence[NDArray[Any]],
    photometric: int,
    order: str = "<",
    **tags: Sequence[int],
) -> bytes:
    """An uncompressed TIFF of samples [8, 32, …], or of one plane [8, 32] for each colour."""
    planes = [samples] if isinstance(samples, np.ndarray) else list(samples)
    count = len(planes) if len(planes) > 1 else int(np.prod(planes[0].shape[2:]))
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    starts = [8 + sum(map(len, strips[:place])) for place in range(len(strips))]
    height, width = planes[0].shape[:2]
    values = {
        _WIDTH: [width],
        _HEIGHT: [height],
        _BITS: [planes[0].dtype.itemsize * 8] * count,
        _COMPRESSION: [1],
        _PHOTOMETRIC: [photometric],
        _OFFSETS: starts,
        _SAMPLES: [count],
        _ROWS: [height],
        _COUNTS: [len(strip) for strip in strips],
        _PLANAR: [2 if len(planes) > 1 else 1],
        _COLORMAP: tags.get("colours", ()),
        _EXTRA: tags.get("extra", ()),
        _FORMAT: tags.get("kind", ()),
    }
    values = {tag: list(given) for tag, given in values.items() if given}
    end = 8 + sum(map(len, strips))
    behind = end + 2 + 12 * len(values) + 4
    entries, rest = b"", b""
    for tag, given in sorted(values.items()):
        packed = struct.pack(f"{order}{len(given)}H", *given)
        if len(packed) > 4:
            where = struct.pack(f"{order}I", behind + len(rest))
            packed, rest = where, rest + packed
        entries += struct.pack(f"{order}HHI", tag, 3, len(given)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, end)
    table = struct.pack(f"{order}H", len(values)) + entries + bytes(4)
    return head + b"".join(strips) + table + rest


def _levels(data: bytes) -> NDArray[np.int64]:
    return decode(data).pixels.astype(np.int64)


def _as_grey(found: NDArray[np.int64]) -> NDArray[np.int64]:
    assert (found == found[..., :1]).all()
    return found[..., 0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_of_16_bits_is_as_bright_as_its_header_says(order: str) -> None:
    """In either order of bytes; signed samples have half of the range."""
    plain = (RAMP * 257).astype(np.uint16)
    assert np.array_equal(_as_grey(_levels(tiff(plain, GREY, order))), RAMP)
    signed = (RAMP * 128).astype(np.int16)
    found = _as_grey(_levels(tiff(signed, GREY, order, kind=[SIGNED])))
    assert abs(found - RAMP).max() <= 1


def test_grey_whose_zero_is_white_is_not_a_negative() -> None:
    """As scanners and medical devices write it, with 8 and 16 bits."""
    eight, deep = (255 - RAMP).astype(np.uint8), (65_535 - RAMP * 257).astype(np.uint16)
    for inverted in (eight, deep):
        assert np.array_equal(_as_grey(_levels(tiff(inverted, INVERTED))), RAMP)


def test_unsigned_32_bit_grey_has_no_black_lights() -> None:
    """Pillow takes its brighter half for negative."""
    found = _as_grey(_levels(tiff((RAMP * 0x01010101).astype(np.uint32), GREY)))
    assert abs(found - RAMP).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_16_bits(order: str) -> None:
    """Interleaved RGB, in either order of bytes."""
    deep = (COLOURS * 257).astype(np.uint16)
    assert np.array_equal(_levels(tiff(deep, RGB, order)), COLOURS)


def test_planes_of_8_bits_are_read_and_deeper_ones_rejected() -> None:
    """Pillow makes noise of planes with 16 bits: a reject says what to do."""
    planes = [COLOURS[..., place].astype(np.uint8) for place in range(3)]
    assert np.array_equal(_levels(tiff(planes, RGB)), COLOURS)
    deep = [plane.astype(np.uint16) * 257 for plane in planes]
    with pytest.raises(Rejected, match="uncompressed TIFF with planes of more than 8 bits"):
        decode(tiff(deep, RGB))


def test_samples_that_are_not_read_are_rejected_as_such() -> None:
    """RGB in floats is not damaged."""
    floats = (COLOURS / 255).astype(np.float32)
    with pytest.raises(Rejected, match="unsupported kind of samples"):
        decode(tiff(floats, RGB, kind=[FLOAT] * 3))


@pytest.mark.parametrize("extra", [PREMULTIPLIED, ALPHA])
@pytest.mark.parametrize("grey", [True, False])
def test_transparency_is_blended_with_white(extra: int, grey: bool) -> None:
    """Whether the colours are stored multiplied with it or not."""
    colours = RAMP[..., None] if grey else COLOURS
    share = OPAQUE[..., None] / 255
    stored = np.round(colours * share) if extra == PREMULTIPLIED else colours
    samples = np.concatenate([stored, OPAQUE[..., None]], axis=-1).astype(np.uint8)
    found = _levels(tiff(samples, GREY if grey else RGB, extra=[extra]))
    assert abs(found - np.round(colours * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_or_16_bits(scale: int) -> None:
    """Some writers store 8 bits where 16 are meant."""
    palette = np.array([(value, 255 - value, 77) for value in range(256)])
    data = tiff(RAMP.astype(np.uint8), PALETTE, colours=(palette.T * scale).ravel().tolist())
    assert np.array_equal(_levels(data), palette[RAMP])


def test_the_writer_of_these_tests_writes_what_pillow_reads() -> None:
    """Else a mistake in the writer would pass for one of the decoder."""
    image = Image.open(io.BytesIO(tiff(COLOURS.astype(np.uint8), RGB)))
    assert np.array_equal(np.asarray(image), COLOURS)
