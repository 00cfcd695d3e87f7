"""What `decode` makes of a file is what Chromium shows, pixel by pixel."""

import base64

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser

from clip_assets.node.decode import decode
from tests.browser.formats import files

LEVELS = 1
"""Of 255: transparency and colour profiles are computed with other roundings."""

DIFFERENT = {
    "png gAMA 1.0": "ignored on purpose",
    "png cICP of Display P3": "ignored on purpose",
    "png palette too short": "browsers differ; an index beyond its end is black",
    "webp turned 6": "followed on purpose",
    "avif alpha": "Chromium stretches transparency, as if it had the range of video",
    "avif animated": "Chromium stretches its colours in the same way",
    "jpeg without its last bytes": "Chromium drops the rows of the last blocks",
}
"""Files that differ, and why; docs/images.md tells of them."""

DRAW = """files => Promise.all(files.map(async ([type, data]) => {
  const image = new Image();
  image.src = `data:${type};base64,${data}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const text = Array.from(pixels, value => String.fromCharCode(value)).join('');
  return [canvas.width, canvas.height, btoa(text)];
}))"""


def test_pixels_are_those_of_chromium(browser: Browser) -> None:
    """All files are within the stated difference, except those listed with a reason."""
    made = list(files())
    page = browser.new_page()
    drawn = page.evaluate(DRAW, [[kind, base64.b64encode(data).decode()] for _, kind, data in made])
    page.close()
    assert len(made) > 150
    differences = {
        name: _difference(decode(data).pixels, *shown)
        for (name, _, data), shown in zip(made, drawn, strict=True)
    }
    far = {name: levels for name, levels in differences.items() if levels > LEVELS}
    assert far.keys() <= DIFFERENT.keys(), far
    assert differences.keys() >= DIFFERENT.keys()


def _difference(ours: NDArray[np.uint8], width: int, height: int, shown: str) -> float:
    """The largest, in levels of a channel; infinite if the sides differ."""
    pixels = np.frombuffer(base64.b64decode(shown), np.uint8).reshape(height, width, 4)
    if ours.shape[:2] != (height, width):
        return np.inf
    return float(np.abs(pixels[..., :3].astype(int) - ours).max())
