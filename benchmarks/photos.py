"""Photos from installed packages, at typical sizes of collections.

matplotlib has one; scikit-image and scikit-learn have more, and are used if they are installed.
"""

import io
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

from PIL import Image

_FOLDERS = {
    "matplotlib": "mpl-data/sample_data",
    "skimage": "data",
    "sklearn": "datasets/images",
}
_LEAST_BYTES, _LEAST_SIDE = 40_000, 300
QUALITY = 88
SIZES = {"256 x 256": (256, 256), "500 x 375": (500, 375), "12 MP": (4000, 3000)}


def folders() -> list[Path]:
    """The folders with photos in the installed packages."""
    found = []
    for package, folder in _FOLDERS.items():
        spec = find_spec(package)
        if spec and spec.origin and (Path(spec.origin).parent / folder).is_dir():
            found.append(Path(spec.origin).parent / folder)
    return found


def photos(extra: Path | None = None) -> list[Image.Image]:
    """All photos that are large enough, in RGB, and those in the folder `extra`."""
    files = [
        file
        for folder in [*folders(), *([extra] if extra else [])]
        for file in sorted(folder.iterdir())
        if file.suffix in (".jpg", ".jpeg", ".png") and file.stat().st_size >= _LEAST_BYTES
    ]
    opened = [Image.open(file) for file in files]
    return [image.convert("RGB") for image in opened if min(image.size) >= _LEAST_SIDE]


def jpegs(sources: list[Image.Image], width: int, height: int) -> list[bytes]:
    """A JPEG of this size for each photo.

    For a size of more than four times a photo's pixels, one JPEG with all photos side by side, so
    that it has as much detail as a camera's.
    """
    if width * height > 4 * min(image.width * image.height for image in sources):
        return [_jpeg(_mosaic(sources, width, height))]
    return [_jpeg(image.resize((width, height), Image.Resampling.BICUBIC)) for image in sources]


def _mosaic(sources: list[Image.Image], width: int, height: int) -> Image.Image:
    ground = Image.new("RGB", (width, height))
    tiles = cycle(image.resize((500, 375), Image.Resampling.BICUBIC) for image in sources)
    for top in range(0, height, 375):
        for left in range(0, width, 500):
            ground.paste(next(tiles), (left, top))
    return ground


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
