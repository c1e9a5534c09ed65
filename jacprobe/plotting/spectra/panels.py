"""A figure with a panel per segment, sized to its width, with one legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.artists.figures import PAGE, blank_figure, figure_width, grid_axes
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.words import elide, legend_text
from jacprobe.plotting.spectra.segments import Panel, colors_by_set
from jacprobe.results import Spectrum
from jacprobe.results.order import merged_order

_LEAST, _MOST = 1.5, 2.4  # inches, the width of a panel
_SMALLEST = 1.1  # where there are many
_RATIO = 0.8  # height of a panel by its width
_LEGEND = 0.5  # inches


class Look(NamedTuple):
    """What all panels of a figure have in common: the axis, the band around 1, colours, and what was chosen."""

    log: bool
    epsilon: float
    colors: Mapping[str, object]
    estimates: Sequence[Spectrum]
    shape: Mapping[str, object]  # forwarded to the artist of the values
    label: str | None

    @classmethod
    def of(cls, panels: Sequence[Panel], *, log: bool, epsilon: float, color: object = None, label: str | None = None,
           shape: Mapping[str, object] | None = None) -> Look:
        """Return the look of all `panels`, whose estimates have one entry in the legend."""
        estimates = [s for panel in panels for s in panel.spectra.values() if s.density is not None]
        return cls(log, epsilon, colors_by_set(panels, color), estimates, shape or {}, label)

    def text(self, name: str) -> str:
        """Return what the legend says of a set, literally; a set alone is "measured"."""
        return (legend_text(name) or "measured") if self.label is None else self.label


def panel_figure(
    panels: Sequence[Panel],
    draw: Callable[[Axes, Panel], str],
    *,
    width: float | None,
    height: float | None,
    title: str | None,
    shared: bool = False,
) -> Figure:
    """Return a figure without pyplot on which `draw` has drawn each panel; what it returns stands at its right.

    The labels of the axes stand at the left and below the lowest panels; numbers along x too where they are `shared`.
    """
    several = len(panels) > 1
    width = figure_width(width, 7.0 if several else 4.5)
    num_columns = _num_columns(len(panels), width)
    wide = width / num_columns
    natural = max(_RATIO * wide, 1.0) * math.ceil(len(panels) / num_columns) + _LEGEND
    figure = blank_figure(width, height, natural if several else min(max(0.62 * width, 2.2), 4.2))
    axes = grid_axes(figure, len(panels), num_columns)
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        _head(ax, elide(panel.title), draw(ax, panel), room=60 * wide)
        if index + num_columns < len(panels):
            ax.tick_params(axis="x", labelbottom=not shared)
            ax.set_xlabel("")
    font = axes[0].yaxis.label.get_fontsize()
    if several:
        font = min(3.6 + 1.1 * width, 8)
        figure.supylabel(axes[0].get_ylabel(), fontsize=font)
        for ax in axes:
            ax.set_ylabel("")
    return finished(axes, title=title, font=font, first=merged_order(panel.spectra for panel in panels))


def _head(ax: Axes, name: str, note: str, *, room: float) -> None:
    """Write the name of a panel above it at the left, and a note at the right or below the name."""
    font = ax.xaxis.label.get_fontsize()
    if note and 0.56 * font * (len(name) + len(note) + 2) > room:
        name, note = f"{name}\n{note}", ""
    longest = max(map(len, name.split("\n")))
    ax.set_title(name, loc="left", fontsize=min(font, room / (0.56 * max(longest, 1))), pad=3, parse_math=False)
    ax.set_title(note, loc="right", fontsize=font - 1, pad=3, parse_math=False)


def _num_columns(num_panels: int, width: float) -> int:
    """Return how many panels stand side by side: few and large, unless that makes more than a page."""
    first = max(int(width / _MOST), 1)
    for num_columns in range(first, max(int(width / _SMALLEST), first) + 1):
        high = max(_RATIO * width / num_columns, 1.0) * math.ceil(num_panels / num_columns)
        if num_columns >= num_panels or (high <= PAGE and width / num_columns <= max(_LEAST, width / first)):
            return min(num_columns, num_panels)
    return max(int(width / _SMALLEST), 1)


def common_limits(limits: Sequence[tuple[float, float]], *, shared: bool) -> list[tuple[float, float]]:
    """Return `limits`, or for each of them the widest."""
    widest = min(low for low, _ in limits), max(high for _, high in limits)
    return [widest] * len(limits) if shared else list(limits)
