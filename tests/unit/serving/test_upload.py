"""Uploaded files are decoded within a budget of pixels and memory."""

import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from PIL import Image

from serving.errors import UnusableImage
from serving.settings import ServingSettings
from serving.upload import Budget, decoded

SETTINGS = ServingSettings(_env_file=None)
BUDGET = Budget(SETTINGS.upload_pixels, SETTINGS.upload_jpeg_pixels)
MEMORY = """
import sys
from pathlib import Path
import numpy as np
from clip_assets.node.decode import decode
from clip_assets.node.resize import thumbnail
from serving.upload import Budget, decoded
data, budget = sys.stdin.buffer.read(), Budget(*map(int, sys.argv[1:]))
decode(thumbnail(np.zeros((64, 64, 3), np.uint8)))
def most():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = most()
decoded(data, budget)
print(most() - before)
"""


def _jpeg(width: int, height: int, **options: object) -> bytes:
    file = io.BytesIO()
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.save(file, "JPEG", **options)
    return file.getvalue()


def deep_png(side: int) -> bytes:
    """A transparent PNG of 16 bits a channel: the most memory for a pixel, in a tiny file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + side * 8) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(
    "made",
    [
        partial(deep_png, 2000),
        partial(_jpeg, 8000, 6000),
        partial(_jpeg, 3600, 2700, progressive=True),
    ],
)
def test_no_upload_takes_more_than_64_mib(python: str, made: Callable[[], bytes]) -> None:
    """The worst PNG of the most pixels, a photo of 48 million and a progressive one of 9.7."""
    data = made()
    command = [python, "-c", MEMORY, str(BUDGET.pixels), str(BUDGET.jpeg_pixels)]
    ended = subprocess.run(command, input=data, capture_output=True, check=True, timeout=300)
    print(f"{len(data)} bytes: {int(ended.stdout) // 1024} MiB")
    assert int(ended.stdout) < 64 * 1024


@pytest.mark.parametrize(
    ("made", "about"),
    [
        (partial(deep_png, 2001), r"too many pixels \(4 million, at most 4\)"),
        (
            partial(_jpeg, 3300, 3100, progressive=True),
            r"progressive JPEG \(10 million, at most 10\)",
        ),
    ],
)
def test_a_file_over_the_budget_is_refused_with_the_remedy(
    made: Callable[[], bytes], about: str
) -> None:
    """Nothing is decoded, and the message says how large a query may be."""
    with pytest.raises(UnusableImage, match=f"{about}. Scale it down to 1,000 pixels a side."):
        decoded(made(), BUDGET)


def test_a_large_photo_is_decoded_smaller_and_upright() -> None:
    """It shows the same, turned as its metadata say."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = decoded(_jpeg(3000, 2000, exif=exif), BUDGET)
    assert image.size == (1000, 1500)
    shades = np.asarray(image.convert("L").resize((4, 4)))
    assert (np.diff(shades.astype(int), axis=1) < 0).all()  # the top, which is black, is right
