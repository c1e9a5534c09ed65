"""The ending that all figures share: one legend below, and the title."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.artists.sizes import type_size
from jacprobe.plotting.artists.words import legend_text


def finished(
    axes: Sequence[Axes], *, title: str | None, font: float | None = None, first: Iterable[str] = ()
) -> Figure:
    """Return the figure of `axes` with one legend for all of them below and its title above.

    Every label stands in the legend once, those of `first` before the others.
    """
    figure = axes[0].figure
    font = type_size(axes[0]) if font is None else font
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        order = [label for label in map(legend_text, first) if label in found]
        found = {label: found[label] for label in [*order, *found]}
        room, widest = 72 * figure.get_figwidth(), max(len(line) for label in found for line in label.split("\n"))
        columns = max(1, min(len(found), int(room / ((0.55 * widest + 3.5) * font)), 6))
        columns = math.ceil(len(found) / math.ceil(len(found) / columns))  # as many in each line
        figure.legend(list(found.values()), list(found), loc="outside lower center", frameon=False, fontsize=font,
                      ncols=columns, handlelength=1.6, handletextpad=0.5, columnspacing=1.4)
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * font, parse_math=False)
    return figure


def name_sets(ax: Axes, colors: Mapping[str, object]) -> None:
    """Give the legend a square per set, by the names that the sets have."""
    for name, color in colors.items():
        if name:
            ax.scatter([], [], marker="s", color=[color], label=legend_text(name))
