"""Lines over the shards, for the Dagster UI."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from clip_assets.assets.pictures import embedded

_CHART, _EDGE = (720, 220), 24
_COLORS = ("crimson", "gray", "royalblue")


def line_chart(lines: Mapping[str, Sequence[float]], marked: Sequence[int]) -> str:
    """Markdown with one small PNG of lines over the same steps; `marked` steps stand out."""
    chart = Image.new("RGB", (_CHART[0], _CHART[1] + 14 * len(lines)), "white")
    draw = ImageDraw.Draw(chart)
    width, height = _CHART
    steps = max(map(len, lines.values()))
    top = max([value for values in lines.values() for value in values] or [0]) or 1.0

    def point(step: int, value: float) -> tuple[float, float]:
        x = _EDGE + step * (width - 2 * _EDGE) / max(steps - 1, 1)
        return x, height - _EDGE - value / top * (height - 2 * _EDGE)

    for step in marked:
        draw.line([point(step, 0), point(step, top)], fill="orange", width=3)
    for number, (name, values) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        draw.line([point(*step) for step in enumerate(values)], fill=color, width=2)
        draw.text((_EDGE, height + 14 * number), name, fill=color)
    draw.text((2, 2), f"{top:.3f}", fill="black")
    return embedded(chart, "PNG", "drift")
