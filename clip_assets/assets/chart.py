"""A small line chart for the Dagster UI, drawn with Pillow: a plot library costs every run more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from clip_assets.assets.pictures import embedded

# Drawn at twice its size on the page, so that it stays sharp on fine screens.
_WIDTH, _HEIGHT = 1120, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 100, 40, 84, 90
_INK, _QUIET = "#1b1f24", "#d6dade"
_COLOURS = ("#3d5afe", "#e4572e", "#2a9d6f")
_FONT_SIZE = 26


@dataclass(frozen=True)
class Line:
    """One named series of points, in the order of their x."""

    name: str
    points: Sequence[tuple[float, float]]


def recall_chart(lines: Sequence[Line], wanted: float, chosen: float) -> str:
    """Markdown of recall by ef_search; x is logarithmic, `wanted` a dashed line."""
    axes = _Axes(lines, wanted)
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    _grid(draw, axes)
    _dashes(draw, axes.y(wanted))
    at = axes.x(chosen)
    draw.line([(at, _TOP), (at, _HEIGHT - _BOTTOM)], fill=_QUIET, width=3)
    for number, line in enumerate(lines):
        _line(draw, axes, line, _COLOURS[number % len(_COLOURS)])
    _legend(draw, lines)
    return embedded(picture.quantize(64), "PNG", "recall@10 by ef_search")


class _Axes:
    """From values to pixels."""

    def __init__(self, lines: Sequence[Line], wanted: float) -> None:
        points = [point for line in lines for point in line.points]
        self.ticks = sorted({x for x, _ in points})
        self._first, self._last = math.log(self.ticks[0]), math.log(self.ticks[-1])
        lowest = min(wanted, *(y for _, y in points))
        self.floor = max(0.0, math.floor((lowest - 0.01) * 20) / 20)

    def x(self, value: float) -> float:
        if self._first == self._last:
            return (_LEFT + _WIDTH - _RIGHT) / 2
        share = (math.log(value) - self._first) / (self._last - self._first)
        return _LEFT + 20 + share * (_WIDTH - _LEFT - _RIGHT - 40)

    def y(self, value: float) -> float:
        share = (value - self.floor) / (1 - self.floor)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(draw: ImageDraw.ImageDraw, axes: _Axes) -> None:
    steps = 5
    for step in range(steps + 1):
        value = axes.floor + (1 - axes.floor) * step / steps
        draw.line([(_LEFT, axes.y(value)), (_WIDTH - _RIGHT, axes.y(value))], fill=_QUIET, width=1)
        _text(draw, (_LEFT - 14, axes.y(value)), f"{value:.2f}", "rm")
    for tick in axes.ticks:
        _text(draw, (axes.x(tick), _HEIGHT - _BOTTOM + 12), f"{tick:g}", "ma")
    _text(draw, (_WIDTH / 2, _HEIGHT - 14), "ef_search", "mb")


def _line(draw: ImageDraw.ImageDraw, axes: _Axes, line: Line, colour: str) -> None:
    points = [(axes.x(x), axes.y(y)) for x, y in line.points]
    draw.line(points, fill=colour, width=5, joint="curve")
    for x, y in points:
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=colour)


def _dashes(draw: ImageDraw.ImageDraw, y: float) -> None:
    for start in range(_LEFT, _WIDTH - _RIGHT, 24):
        draw.line([(start, y), (start + 12, y)], fill=_INK, width=2)
    _text(draw, (_LEFT + 8, y + 8), "wanted", "la")


def _legend(draw: ImageDraw.ImageDraw, lines: Sequence[Line]) -> None:
    left = float(_LEFT)
    _text(draw, (left, 34), "recall@10", "lm")
    left += 180
    for number, line in enumerate(lines):
        draw.ellipse((left, 26, left + 16, 42), fill=_COLOURS[number % len(_COLOURS)])
        _text(draw, (left + 28, 34), line.name, "lm")
        left += 60 + draw.textlength(line.name, _font())


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, anchor: str) -> None:
    draw.text(at, text, fill=_INK, font=_font(), anchor=anchor)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)
