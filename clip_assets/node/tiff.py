"""What Pillow does not report, or reports wrongly, about the samples of a TIFF."""

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TiffImageFile,
)

_SIGNED = 2


def unread_planes(image: Image.Image) -> str:
    """Why the file cannot be used, if it has uncompressed separate planes of more than 8 bits; else
    empty. Pillow's own reader would read them as planes of 8 bits, which gives noise; libtiff reads
    compressed planes correctly."""
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(PLANAR_CONFIGURATION) != 2:
        return ""
    if any(tile.codec_name != "raw" for tile in image.tile):
        return ""
    bits = image.tag_v2.get(BITSPERSAMPLE, (8,))
    if len(bits) < 2 or max(bits) <= 8:
        return ""
    return "an uncompressed TIFF with planes of more than 8 bits; save it compressed"


def white_is_zero(image: Image.Image) -> bool:
    """Whether deep greyscale is stored inverted; Pillow inverts up to 8 bits."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0


def white(image: Image.Image) -> float | None:
    """The value of white in samples of 9 to 16 bits; None if the file does not say."""
    if not isinstance(image, TiffImageFile):
        return None
    bits = image.tag_v2.get(BITSPERSAMPLE, (0,))[0] - _signed(image)
    return float(2**bits - 1) if 8 < bits <= 16 else None


def unsigned(image: Image.Image) -> Image.Image:
    """32-bit samples as floats if they are unsigned, because Pillow reads them as signed."""
    if image.mode != "I" or not isinstance(image, TiffImageFile) or _signed(image):
        return image
    samples = np.asarray(image)
    if (samples >= 0).all():
        return image
    return Image.fromarray(samples.view(np.uint32).astype(np.float32))


def correct_palette(image: Image.Image) -> None:
    """Some writers store a palette's colours with 8 bits instead of 16; Pillow reads these as
    almost black."""
    if isinstance(image, TiffImageFile) and image.mode == "P":
        stored = np.array(image.tag_v2.get(COLORMAP, ()))
        if stored.size and stored.max() < 256:
            image.putpalette(stored.reshape(3, -1).T.astype(np.uint8).tobytes())


def _signed(image: TiffImageFile) -> bool:
    return _SIGNED in image.tag_v2.get(SAMPLEFORMAT, ())
