"""Decodes a file into upright RGB pixels, within limits, and makes thumbnails.

The bytes are untrusted. Whatever Pillow does with them, `decode` returns pixels or raises Rejected.
"""

import io
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"RIFF": "WEBP",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


@dataclass(frozen=True)
class Limits:
    """What `decode` accepts: size in bytes, pixels, long side over short side, formats."""

    max_bytes: int = 128 << 20
    max_pixels: int = 100_000_000
    max_aspect: int = 100
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


PIPELINE = Limits()
QUERY = Limits(max_bytes=16 << 20, max_pixels=25_000_000, formats=("JPEG", "PNG", "WEBP"))

# Pillow's own limit, set once per process: it warns above this, and raises above twice this.
Image.MAX_IMAGE_PIXELS = PIPELINE.max_pixels
# Otherwise Pillow loads its decoders on first use, in many threads at once.
Image.init()


class Rejected(Exception):  # noqa: N818 - a verdict on the input, not a fault of ours
    """The bytes are not an image within the limits; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """Upright RGB pixels; width and height are those a viewer shows."""

    image: Image.Image
    width: int
    height: int


def decode(data: bytes, limits: Limits = PIPELINE) -> Decoded:
    """The first frame, upright, transparency on white. Raises Rejected and nothing else."""
    if not data:
        raise Rejected("empty file")
    if len(data) > limits.max_bytes:
        raise Rejected(f"file too large (over {limits.max_bytes >> 20} MiB)")
    image = _opened(data, limits)
    _refuse_shape(image, limits)
    try:
        image.load()
        rgb = _rgb(_upright(image))
    except Exception as error:  # any class: the input decides which Pillow code runs
        raise Rejected(_damage(data, error)) from error
    return Decoded(rgb, rgb.width, rgb.height)


def thumbnail(image: Image.Image, side: int = 256) -> bytes:
    """WebP of at most `side` pixels per side, without EXIF, colour profile or comment."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def _opened(data: bytes, limits: Limits) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=limits.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d+", str(error))
        raise Rejected(_too_many(int(pixels[0]) if pixels else 0, limits)) from error
    except UnidentifiedImageError as error:
        raise Rejected(_unidentified(data, limits)) from error
    except Exception as error:  # as in `decode`
        raise Rejected(_damage(data, error)) from error


def _refuse_shape(image: Image.Image, limits: Limits) -> None:
    """Check the header before decoding any pixel: a 10 kB PNG may expand to gigabytes."""
    short, long = sorted(image.size)
    if short < 1:
        raise Rejected("no pixels")
    if short * long > limits.max_pixels:
        raise Rejected(_too_many(short * long, limits))
    if long > short * limits.max_aspect:
        raise Rejected(f"aspect ratio {long / short:.0f}:1 (at most {limits.max_aspect}:1)")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata but good pixels: keep the stored orientation
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Scale deep greyscale to 8 bits. Pillow's own conversion clips at 255: almost all white."""
    full = 65_535.0 if image.mode.startswith("I;16") else _full_scale(image)
    deep = image.convert("I") if image.mode.startswith("I;16") else image
    grey = deep.convert("F").point(lambda value: value * (255 / full) + 0.5).convert("L")
    grey.info.pop("transparency", None)  # refers to a 16-bit value that no longer exists
    return grey


def _full_scale(image: Image.Image) -> float:
    """White in 32-bit samples: the smallest usual value that fits, since no header states it."""
    brightest = float(image.getextrema()[1])  # type: ignore[arg-type]
    usual = (1.0, 255.0, 65_535.0) if image.mode == "F" else (255.0, 65_535.0)
    return next((white for white in usual if brightest <= white), max(brightest, 1.0))


def _format(data: bytes) -> str:
    return next((name for start, name in _SIGNATURES.items() if data.startswith(start)), "")


def _unidentified(data: bytes, limits: Limits) -> str:
    if _format(data) in limits.formats:
        return f"damaged {_format(data)}"
    *others, last = limits.formats
    return f"not a {', '.join(others)} or {last} image"


def _damage(data: bytes, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs too much memory"
    cut = "truncated" in str(error).lower()
    return f"{'truncated' if cut else 'damaged'} {_format(data) or 'image'}"


def _too_many(pixels: int, limits: Limits) -> str:
    return f"too many pixels ({pixels / 1e6:.0f} million, at most {limits.max_pixels / 1e6:.0f})"
