"""Converts a loaded image to RGB in sRGB, with transparency on white."""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile

from clip_assets.node import tiff
from clip_assets.node.png import lower_bytes, opacity

_SRGB = ImageCms.createProfile("sRGB")
_SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_NEARLY = 2
"""Levels of 255 by which a profile may change colours and still count as sRGB, because writers
round the same curve differently. A file in sRGB keeps its pixels."""


@dataclass(frozen=True)
class Stored:
    """Facts about a file that Pillow forgets once its pixels are loaded.

    `frame` is the part of a GIF that its first frame covers, if not all of it: left, upper, right
    and lower. `depth` is a PNG's bits a sample; `lower` has the lower 8 of 16 bits, which Pillow
    drops, if they are needed.
    """

    frame: tuple[int, int, int, int] | None = None
    depth: int = 8
    lower: Image.Image | None = None


def stored(image: Image.Image, data: bytes) -> Stored:
    """These facts about an image that is not loaded yet, from its file's bytes."""
    if isinstance(image, GifImageFile) and image.tile:
        frame = image.tile[0].extents
        return Stored(frame=None if frame == (0, 0, *image.size) else frame)
    if not isinstance(image, PngImageFile):
        return Stored()
    depth = data[24]
    needed = depth == 16 and image.mode == "RGB" and "transparency" in image.info
    return Stored(depth=depth, lower=lower_bytes(data) if needed else None)


def on_white(image: Image.Image, of: Stored) -> Image.Image:
    """The image as browsers show it on a white page."""
    colours, opaque = _parted(image, of)
    colours = _in_srgb(colours).convert("RGB")
    frame = of.frame
    if frame is None and opaque is None:
        return colours
    white = Image.new("RGB", image.size, "white")
    if frame is None:
        white.paste(colours, mask=opaque)
    else:
        white.paste(colours.crop(frame), frame, opaque.crop(frame) if opaque else None)
    return white


def _parted(image: Image.Image, of: Stored) -> tuple[Image.Image, Image.Image | None]:
    """The colours, with 8 bits a sample, and their opacity in mode L; None if opaque.

    They are separated before the profile is applied: the profile concerns only the colours, and a
    transparent colour is given in the file's own colours.
    """
    tiff.correct_palette(image)
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if isinstance(image, PngImageFile) and image.mode != "P" and "transparency" in image.info:
        opaque = opacity(image, of.depth, of.lower)
        return _grey(image) if _is_deep(image) else image, opaque
    if _is_deep(image):
        return _grey(image), None
    if not image.has_transparency_data:
        return image, None
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    clear = image if image.mode == "RGBA" else image.convert("RGBA")
    colours = clear.convert("RGB")
    colours.info = image.info
    return colours, clear.getchannel("A")


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _grey(image: Image.Image) -> Image.Image:
    """Scale deep greyscale to 8 bits. Pillow's own conversion clips at 255: almost all white."""
    if image.mode.startswith("I;16"):
        deep, full = image.convert("I"), tiff.white(image) or 65_535.0
    else:
        deep = tiff.unsigned(image)
        full = tiff.white(image) or _full_scale(deep)
    scaled = deep.convert("F").point(lambda value: value * (255 / full) + 0.5)
    grey = scaled.convert("L")
    if tiff.white_is_zero(image):
        grey = Image.eval(grey, lambda value: 255 - value)
    grey.info = {name: value for name, value in image.info.items() if name == "icc_profile"}
    return grey


def _full_scale(image: Image.Image) -> float:
    """White in 32-bit samples: the smallest usual value that fits, since no header states it."""
    brightest = float(image.getextrema()[1])  # type: ignore[arg-type]
    usual = (1.0, 255.0, 65_535.0) if image.mode == "F" else (255.0, 65_535.0)
    return next((white for white in usual if brightest <= white), max(brightest, 1.0))


def _in_srgb(image: Image.Image) -> Image.Image:
    """The colours as a screen shows them, if the file has a usable profile of another space."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if image.mode == "P":
        image = image.convert("RGB")
    transform = to_srgb(profile, image.mode)
    return image if transform is None else ImageCms.applyTransform(image, transform) or image


@lru_cache(maxsize=16)
def to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None if nothing is to be done; a damaged profile is ignored, as viewers do."""
    try:
        found = ImageCms.getOpenProfile(io.BytesIO(profile))
        if _SPACES.get(mode) != found.profile.xcolor_space.strip():
            return None
        transform = ImageCms.buildTransform(found, _SRGB, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode != "CMYK" and _changes_little(transform, mode) else transform


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a profile is sRGB, by its effect, because names mislead: see `Linear sRGB`."""
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    before = Image.fromarray(cube if mode == "RGB" else levels[None])
    after = ImageCms.applyTransform(before, transform) or before
    difference = np.asarray(after).astype(int) - np.asarray(before.convert("RGB"))
    return bool(abs(difference).max() <= _NEARLY)
