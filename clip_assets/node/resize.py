"""Resizes pixels, and makes thumbnails of them."""

import numpy as np
import simplejpeg
import torch
from torch.nn.functional import interpolate

from clip_assets.node.decode import Pixels

THUMBNAIL_SIDE = 256
_QUALITY = 75


def resized(pixels: Pixels, height: int, width: int, interpolation: str = "bicubic") -> Pixels:
    """The image at another size, like Pillow's `resize`: when a photo is reduced, no sample differs
    by more than 1.

    torch takes a sixth of Pillow's time, because its wheels use SIMD instructions.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    # With these strides, also of the batch's single image, torch's result keeps the three samples
    # of a pixel side by side and needs no copy, which would take longer than the resize. The views
    # are numpy's, because each torch call releases the interpreter's lock to other threads.
    planes = pixels.reshape(1, *pixels.shape).transpose(0, 3, 1, 2)
    size = (height, width)
    small = interpolate(torch.from_numpy(planes), size=size, mode=interpolation, antialias=True)
    found: Pixels = np.ascontiguousarray(small.numpy()[0].transpose(1, 2, 0))
    return found


def thumbnail(pixels: Pixels, side: int = THUMBNAIL_SIDE) -> bytes:
    """JPEG of at most `side` pixels a side, without EXIF, colour profile or comment.

    Encoding it as WebP would take ten to thirty times as long and save an eighth of the size.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    small = resized(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    jpeg: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(small), quality=_QUALITY, colorsubsampling="420"
    )
    return jpeg
