"""The image transform of a model: open_clip's own, on bytes instead of floats.

The device divides by 255 and normalises, so that only a quarter of the bytes is copied to it. See
`Encoder.encode_pixels`.
"""

from collections.abc import Callable

import numpy as np
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from clip_assets.node.decode import Pixels
from clip_assets.node.resize import THUMBNAIL_SIDE, resized

_MARGIN = 3
"""A photo decoded at a fraction of its size keeps this many times the pixels a side that the model
sees. Measured with a model that sees 64 pixels, which suffers most: of 168 photos, the worst has
1 - cosine of 1.1e-3 from the full photo, and 4e-3 with 2 instead of 3. That model itself keeps four
times as many, because a thumbnail needs them."""


class Transform:
    """Turns RGB pixels uint8[h, w, 3] into those that the model sees, uint8[size, size, 3].

    `enough` is the short side, in pixels, to which a large photo may be reduced while decoding.
    """

    def __init__(self, config: PreprocessCfg) -> None:
        height, width = _sides(config.size)
        self.enough = max(_MARGIN * max(height, width), THUMBNAIL_SIDE)
        self._resize = _resize(config, height, width)

    def __call__(self, pixels: Pixels) -> Pixels:
        return self._resize(pixels)


def _sides(size: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))


def _resize(config: PreprocessCfg, height: int, width: int) -> Callable[[Pixels], Pixels]:
    interpolation = "bilinear" if config.interpolation == "bilinear" else "bicubic"
    if config.resize_mode == "squash":
        return lambda pixels: resized(pixels, height, width, interpolation)
    if config.resize_mode == "shortest" and height == width:
        return lambda pixels: _cropped(pixels, height, interpolation)
    return _as_open_clip_does(config)


def _cropped(pixels: Pixels, side: int, interpolation: str) -> Pixels:
    """The middle of the image whose short side is `side`, with the rounding of torchvision."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    height, width = int(side * height / short), int(side * width / short)
    small = resized(pixels, height, width, interpolation)
    top, left = round((height - side) / 2), round((width - side) / 2)
    return small[top : top + side, left : left + side]


def _as_open_clip_does(config: PreprocessCfg) -> Callable[[Pixels], Pixels]:
    """For rare settings: open_clip's steps up to the conversion into a tensor."""
    *steps, _, _, _ = image_transform_v2(config, is_train=False).transforms

    def transform(pixels: Pixels) -> Pixels:
        image = Image.fromarray(pixels)
        for step in steps:
            image = step(image)
        return np.array(image)

    return transform
