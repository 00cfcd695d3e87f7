"""Line charts for the Dagster UI.

matplotlib is imported inside the functions that draw, because most runs draw nothing. Each chart
is a separate `Figure`: pyplot would keep state for the whole process.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from PIL import Image

from clip_assets.assets.pictures import embedded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3d5afe", "#e4572e", "#2a9d6f")
INK, QUIET, MARK = "#1b1f24", "#8a929a", "#fbdfb4"
_GRID = "#e3e6e9"
# Twice the displayed size, so that charts stay sharp on high-resolution screens.
_WIDTH_INCHES, _DOTS_PER_INCH = 7.0, 160
# Dagster keeps every chart forever; with 64 colours it takes a third of the bytes.
_SHADES = 64


@dataclass(frozen=True)
class Line:
    """One named series of points, in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


def recall_chart(lines: Sequence[Line], wanted: float, chosen: float) -> str:
    """Markdown chart of recall by ef_search on a log axis; `wanted` is a dashed line."""
    figure, (axes,) = panels([3.4])
    for line, colour in zip(lines, cycle(COLOURS), strict=False):
        axes.plot(*zip(*line.points, strict=True), "o-", color=colour, label=line.name)
    axes.axhline(wanted, color=INK, linestyle="--", linewidth=1.2, label=f"target {wanted:g}")
    axes.axvline(chosen, color=MARK, linewidth=5, zorder=0, label=f"chosen {chosen:g}")
    axes.set_xscale("log")
    ticks = sorted({x for line in lines for x, _ in line.points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    lowest = min(wanted, *(y for line in lines for _, y in line.points))
    axes.set_ylim(max(0.0, lowest - 0.02), 1.005)
    axes.set_xlabel("ef_search", color=INK)
    axes.set_ylabel("recall@10", color=INK)
    legend(axes)
    return markdown(figure, "recall@10 by ef_search")


def panels(heights: Sequence[float]) -> tuple["Figure", list["Axes"]]:
    """An empty figure of stacked panels that share the x axis; heights in inches."""
    from matplotlib.figure import Figure

    figure = Figure((_WIDTH_INCHES, sum(heights)), _DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
    found: list[Axes] = list(grid.flat)
    for axes in found:
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, colors=INK, labelsize=9)
        axes.spines[:].set_visible(False)
    return figure, found


def legend(axes: "Axes") -> None:
    """Put the legend in one row above the panel, where it covers no points."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=9, borderpad=0
    )


def markdown(figure: "Figure", name: str) -> str:
    """Markdown with the figure embedded as a small PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return embedded(Image.open(file).convert("RGB").quantize(_SHADES), "PNG", name)
