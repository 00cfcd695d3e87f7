"""Decodes a file into upright RGB pixels, within limits.

The bytes are untrusted. Whatever the decoders do with them, `decode` returns pixels or raises
Rejected. Pillow reads every header and decides whether a file is usable. simplejpeg decodes most
JPEGs, because it returns the same pixels in half of Pillow's time.
"""

import io
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from clip_assets.node.png import missing_rows
from clip_assets.node.rgb import on_white, stored, to_srgb
from clip_assets.node.tiff import unread_planes
from clip_assets.source.kinds import HEAD, POINTER, image_format, is_pointer

Pixels = NDArray[np.uint8]
"""RGB, uint8[height, width, 3]."""
_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_SIDEWAYS = (5, 6, 7, 8)
_FRACTIONS = (8, 4, 2)
"""Divisors of a JPEG's sides at which the decoder reads fewer coefficients, with SIMD code."""
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JXL", "JPEG2000")
_NEEDED = {"HEIF": "heif", "JXL": "jxl"}  # extras of this package, by the format they decode
_MISSING_ROWS = 0.05
"""Share of an image's rows that may be missing: less than anyone notices in a viewer."""


@dataclass(frozen=True)
class Limits:
    """What `decode` accepts: size in bytes, pixels, long side over short side, formats.

    The sides of a JPEG may be up to `max_reduction` times as long as `max_pixels` allows; it is
    then decoded at a fraction of its size, which needs no more memory. `remedy` is appended to the
    message about too many pixels.
    """

    max_bytes: int = 128 << 20
    max_pixels: int = 100_000_000
    max_aspect: int = 100
    max_reduction: int = 2
    formats: tuple[str, ...] = _FORMATS
    remedy: str = ""


PIPELINE = Limits()
QUERY = Limits(
    max_bytes=16 << 20,
    max_pixels=25_000_000,
    max_reduction=1,
    formats=("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JXL"),
)


def pipeline_limits(max_megapixels: float) -> Limits:
    """The limits of the pipeline, for images of up to `max_megapixels` million pixels."""
    limits = Limits(max_pixels=int(max_megapixels * 1e6), remedy="; raise max_megapixels")
    _allow(limits)
    return limits


def readable_formats(limits: Limits) -> list[str]:
    """The formats in `limits` whose decoder is installed."""
    return [name for name in limits.formats if name in Image.OPEN]


def _allow(limits: Limits) -> None:
    """Increase Pillow's own limit, above which it warns, and above twice which it raises."""
    largest = limits.max_pixels * limits.max_reduction**2
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, largest)


_allow(PIPELINE)
# Otherwise Pillow loads its decoders on first use, in many threads at once.
Image.init()
with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()
with suppress(ImportError):
    import pillow_jxl  # noqa: F401 - registers itself


class Rejected(Exception):  # noqa: N818 - a verdict on the input, not a fault of ours
    """The bytes are not an image within the limits; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """Upright RGB `pixels`, uint8[h, w, 3], and the image's full `width` and `height`.

    `pixels` is smaller than these if a JPEG was decoded at a fraction of its size.
    """

    pixels: Pixels
    width: int
    height: int

    @property
    def image(self) -> Image.Image:
        return Image.fromarray(self.pixels)


def decode(data: bytes, limits: Limits = PIPELINE, enough: int | None = None) -> Decoded:
    """The first frame, upright, with transparency on white. Raises Rejected and nothing else.

    A JPEG is decoded at a half, a quarter or an eighth of its size, in a fraction of the time and
    memory, if its sides are then still at least `enough` pixels long.
    """
    if not data:
        raise Rejected("empty file")
    if len(data) > limits.max_bytes:
        raise Rejected(f"file too large (over {limits.max_bytes >> 20} MiB)")
    image = _opened(data, limits)
    width, height = image.size
    fraction = _fraction(image, limits, enough)
    try:
        pixels, turn = _of_jpeg(data, image, fraction) or _by_pillow(data, image, limits, fraction)
    except Rejected:
        raise
    except Exception as error:  # any class: the input decides which code runs
        raise Rejected(_damage(data, error)) from error
    # A copy, because torch, unlike numpy, does not treat a single row or column as contiguous.
    upright = _UPRIGHT[turn](pixels).copy() if turn in _UPRIGHT else pixels
    return Decoded(upright, *((height, width) if turn in _SIDEWAYS else (width, height)))


def _of_jpeg(data: bytes, image: Image.Image, fraction: int) -> tuple[Pixels, int] | None:
    """Pixels and orientation of a sound JPEG in RGB or grey.

    None for anything else, which Pillow then decodes or rejects.
    """
    if not isinstance(image, JpegImageFile) or image.mode not in ("RGB", "L"):
        return None
    profile = image.info.get("icc_profile")
    if profile and image.mode == "L":
        return None
    least_height, least_width = (-(-side // fraction) for side in (image.height, image.width))
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, min_height=least_height, min_width=least_width, min_factor=fraction
        )
    except Exception:  # any class: the input decides which code runs
        return None
    transform = to_srgb(profile, "RGB") if profile else None
    if transform:
        converted = Image.fromarray(pixels)
        pixels = np.array(ImageCms.applyTransform(converted, transform) or converted)
    return pixels, _orientation(image)


def _by_pillow(
    data: bytes, image: Image.Image, limits: Limits, fraction: int
) -> tuple[Pixels, int]:
    """Pixels and orientation of any image."""
    of = stored(image, data)
    image = _loaded(data, image, limits, fraction)
    turn, rgb = _orientation(image), on_white(image, of)
    if rgb is not image:
        image.close()  # its pixels are not needed while the others are copied
    return np.array(rgb), turn


def _opened(data: bytes, limits: Limits) -> Image.Image:
    """The image by its header, within the limits."""
    kind = image_format(data[:HEAD])
    if kind in limits.formats and kind in _NEEDED and kind not in Image.OPEN:
        raise Rejected(f"{kind} needs a decoder: pip install 'clip-assets[{_NEEDED[kind]}]'")
    try:
        image = Image.open(io.BytesIO(data), formats=readable_formats(limits))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        raise Rejected(_too_many(int(pixels[0]) if pixels else 0, limits, 1)) from error
    except UnidentifiedImageError as error:
        raise Rejected(_unidentified(data, limits)) from error
    except Exception as error:  # as in `decode`
        raise Rejected(_damage(data, error)) from error
    _refuse_shape(image, limits)
    if reason := unread_planes(image):
        raise Rejected(reason)
    return image


def _fraction(image: Image.Image, limits: Limits, enough: int | None) -> int:
    """2, 4 or 8 if the image is to be decoded at a half, a quarter or an eighth of its size."""
    if not isinstance(image, JpegImageFile):
        return 1
    short = min(image.size)
    sides = math.sqrt(image.width * image.height / limits.max_pixels)
    needed = 2 ** math.ceil(math.log2(sides)) if sides > 1 else 1
    wanted = next((n for n in _FRACTIONS if enough and short >= enough * n), 1)
    return max(needed, wanted)


def _draft(image: Image.Image, fraction: int) -> None:
    if fraction > 1:
        image.draft(None, (image.width // fraction, image.height // fraction))


def _refuse_shape(image: Image.Image, limits: Limits) -> None:
    """Check the header before decoding any pixel: a 10 kB PNG may expand to gigabytes."""
    short, long = sorted(image.size)
    if short < 1:
        raise Rejected("no pixels")
    reduction = limits.max_reduction if isinstance(image, JpegImageFile) else 1
    if short * long > limits.max_pixels * reduction**2:
        raise Rejected(_too_many(short * long, limits, reduction))
    if long > short * limits.max_aspect:
        raise Rejected(f"aspect ratio {long / short:.0f}:1 (at most {limits.max_aspect}:1)")


def _loaded(data: bytes, image: Image.Image, limits: Limits, fraction: int) -> Image.Image:
    _draft(image, fraction)
    try:
        image.load()
    except OSError as error:
        if not isinstance(image, JpegImageFile) or "truncated" not in str(error):
            raise
        return _completed(data, limits, fraction)
    if isinstance(image, PngImageFile) and _too_short(missing_rows(data, image), image.height):
        raise Rejected("truncated PNG")
    return image


def _completed(data: bytes, limits: Limits, fraction: int) -> Image.Image:
    """A truncated JPEG as viewers show it, if no more than a few of its last rows are missing."""
    image = _opened(data + b"\xff\xd9", limits)  # the end marker lets the decoder finish
    _draft(image, fraction)
    image.load()
    # The decoder fills what is missing with the middle grey.
    grey = (abs(np.asarray(image).reshape(image.height, -1).astype(np.int16) - 128) <= 1).all(
        axis=1
    )
    missing = image.height - (np.flatnonzero(~grey)[-1] + 1 if not grey.all() else 0)
    if _too_short(missing, image.height):
        raise Rejected("truncated JPEG")
    return image


def _too_short(missing: int, height: int) -> bool:
    return missing > max(_MISSING_ROWS * height, 16)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata but good pixels: keep the stored orientation
        return 1


def _unidentified(data: bytes, limits: Limits) -> str:
    if is_pointer(data):
        return POINTER
    kind = _format(data)
    if kind == "TIFF" and kind in limits.formats:
        return "damaged TIFF, or one with an unsupported kind of samples"
    if kind in limits.formats:
        return f"damaged {kind}"
    *others, last = limits.formats
    return f"not a {', '.join(others)} or {last} image"


def _format(data: bytes) -> str:
    return image_format(data[:HEAD])


def _damage(data: bytes, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs too much memory"
    cut = "truncated" in str(error).lower()
    return f"{'truncated' if cut else 'damaged'} {_format(data) or 'image'}"


def _too_many(pixels: int, limits: Limits, reduction: int) -> str:
    most = limits.max_pixels * reduction**2 / 1e6
    return f"too many pixels ({pixels / 1e6:.0f} million, at most {most:g}{limits.remedy})"
