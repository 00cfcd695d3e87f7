"""Charts for the Dagster UI: small, whole, and with what matters marked."""

import base64
import io
import re

import pytest
from PIL import Image, ImageColor

from clip_assets.assets.chart import INK, MARK, Line, recall_chart
from clip_assets.assets.drift_chart import drift_chart
from clip_assets.quality.drift import Drift

AT_MOST_BYTES = 60_000


def _drift(shards: int, drifted: set[int]) -> list[Drift]:
    return [
        Drift(f"{n:05d}", 10, 0.6, 0.5 if n in drifted else 0.02, 0.01, n in drifted)
        for n in range(shards)
    ]


def _image(markdown: str) -> Image.Image:
    """The one PNG of the markdown; it is no larger than an event may carry."""
    (encoded,) = re.findall(r"!\[[^\]]*\]\(data:image/png;base64,([^)]+)\)", markdown)
    data = base64.b64decode(encoded)
    assert len(data) < AT_MOST_BYTES
    return Image.open(io.BytesIO(data)).convert("RGB")


def _pixels(image: Image.Image, colour: str) -> int:
    """Pixels near the colour, which a palette may have moved a little."""
    wanted = ImageColor.getrgb(colour)
    near = [
        count
        for count, pixel in image.getcolors(image.width * image.height) or []
        if max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 8
    ]
    return sum(near)


@pytest.mark.parametrize("points", [[(40, 1.0)], [(40, 0.91), (64, 0.94), (100, 0.97)]])
def test_recall_is_drawn_where_it_was_measured(points: list[tuple[float, float]]) -> None:
    """The chart is one PNG in the markdown, however many values of ef_search were tried."""
    lines = [Line("text queries", points), Line("image queries", points)]
    image = _image(recall_chart(lines, wanted=0.95, chosen=points[-1][0]))
    assert image.width > image.height
    assert _pixels(image, INK) > 1_000
    assert _pixels(image, MARK) > 1_000


@pytest.mark.parametrize("shards", [1, 8, 900])
def test_drifted_shards_are_marked(shards: int) -> None:
    """Drifted shards stand on a colour of their own, wide enough to see among hundreds."""
    last = shards - 1
    assert _pixels(_image(drift_chart(_drift(shards, set()))), MARK) == 0
    assert _pixels(_image(drift_chart(_drift(shards, {last}))), MARK) > 1_000


def test_no_shard_no_chart() -> None:
    """A collection whose images were all rejected has nothing to draw, and the report says so."""
    assert drift_chart([]) == "_no shard has images_"
