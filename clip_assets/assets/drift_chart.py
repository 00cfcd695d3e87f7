"""Chart of each shard's distance from earlier shards, for the Dagster UI."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clip_assets.assets.chart import COLOURS, INK, MARK, QUIET, legend, markdown, panels
from clip_assets.quality.drift import Drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_DOTS = 60
_NARROWEST_MARK = 1 / 300  # of the chart's width


def drift_chart(shards: Sequence[Drift]) -> str:
    """Markdown chart of distance and mean length by shard; drifted shards are highlighted."""
    from matplotlib.ticker import MaxNLocator

    if not shards:
        return "_no shard has images_"
    figure, (distance, length) = panels([2.2, 1.3])
    numbers = [int(shard.shard) for shard in shards]
    chance = [shard.expected for shard in shards]
    _line(
        distance,
        numbers,
        [shard.distance for shard in shards],
        COLOURS[1],
        "distance of the mean from earlier shards",
    )
    distance.plot(numbers, chance, "--", color=QUIET, label="by chance")
    _line(length, numbers, [shard.norm for shard in shards], COLOURS[0], "length of the mean")
    for axes in (distance, length):
        _mark(axes, [int(shard.shard) for shard in shards if shard.drifted], len(shards))
        axes.set_xlim(min(numbers) - 0.6, max(numbers) + 0.6)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.locator_params("y", nbins=4)
        legend(axes)
    length.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    length.set_xlabel("shard", color=INK)
    return markdown(figure, "drift")


def _line(axes: "Axes", x: Sequence[float], y: Sequence[float], colour: str, label: str) -> None:
    """Draw a line, with one dot per shard as long as there is room for the dots."""
    dots = "o" if len(x) <= _MOST_DOTS else None
    axes.plot(x, y, marker=dots, markersize=4, color=colour, label=label, clip_on=False)


def _mark(axes: "Axes", drifted: Sequence[int], shards: int) -> None:
    half = max(0.4, shards * _NARROWEST_MARK)
    for number, shard in enumerate(drifted):
        label = None if number else "drifted"
        axes.axvspan(shard - half, shard + half, color=MARK, linewidth=0, zorder=0, label=label)
