"""Resizing gives the pixels of Pillow, without copying them."""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from torch.nn.functional import interpolate

from clip_assets.node import resize
from clip_assets.node.decode import decode

PHOTO = Path(mpl.get_data_path()) / "sample_data/grace_hopper.jpg"


@pytest.mark.parametrize("size", [(40, 90), (300, 256), (7, 512)])
def test_the_pixels_are_those_of_pillow(size: tuple[int, int]) -> None:
    """To within one of 255 levels, whichever side becomes how much smaller."""
    photo = Image.open(PHOTO).convert("RGB")
    pixels = np.array(photo)
    theirs = photo.resize(size[::-1], Image.Resampling.BICUBIC)
    assert np.abs(resize.resized(pixels, *size) - np.asarray(theirs, np.int16)).max() <= 1


def test_the_result_of_torch_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three samples of its pixels are side by side, as in an image."""
    results = []

    def watched(*arguments: object, **options: object) -> object:
        results.append(interpolate(*arguments, **options))  # type: ignore[arg-type]
        return results[-1]

    monkeypatch.setattr(resize, "interpolate", watched)
    found = resize.resized(np.zeros((40, 30, 3), np.uint8), 20, 10)
    assert found.ctypes.data == results[0].data_ptr()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(50, 1), (1, 50), (1, 1)])
def test_a_line_of_pixels_can_be_resized_whichever_way_it_is_turned(
    size: tuple[int, int], orientation: int
) -> None:
    """It ended the job: numpy calls one row contiguous in either direction, torch does not."""
    file, tags = io.BytesIO(), Image.Exif()
    tags[0x0112] = orientation
    Image.new("RGB", size, "red").save(file, "PNG", exif=tags)
    pixels = decode(file.getvalue()).pixels
    assert min(pixels.strides) > 0
    assert (resize.resized(pixels, 8, 8) == (255, 0, 0)).all()
    assert resize.thumbnail(pixels)
