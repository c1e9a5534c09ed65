"""A figure with a panel per segment, sized to its width, with one legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.contexts import figure_width
from jacprobe.plotting.segments import Panel
from jacprobe.plotting.style import SelfShowingFigure, check_positive, elide

_LEAST, _MOST = 1.5, 2.4  # inches, the width of a panel
_SMALLEST = 1.1  # where there are many
_PAGE = 9.4  # inches that a figure should not be higher than
_RATIO = 0.8  # height of a panel by its width
_LEGEND = 0.5  # inches


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
    width = figure_width(width, 4.5 if len(panels) == 1 else 7.0)
    num_columns = _num_columns(len(panels), width)
    num_rows = math.ceil(len(panels) / num_columns)
    wide = width / num_columns
    fair = max(_RATIO * wide, 1.0) * num_rows + _LEGEND if len(panels) > 1 else min(max(0.62 * width, 2.2), 4.2)
    height = check_positive(fair if height is None else height, "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    grid = list(figure.subplots(num_rows, num_columns, squeeze=False).ravel())
    for ax in grid[len(panels):]:
        ax.remove()
    axes = grid[:len(panels)]
    for index, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        note = draw(ax, panel)
        _head(ax, elide(panel.title), note, room=60 * wide)
        if index + num_columns < len(panels):
            ax.tick_params(axis="x", labelbottom=not shared)
            ax.set_xlabel("")
        if len(panels) > 1:
            label = ax.get_ylabel()
            ax.set_ylabel("")
    font = axes[0].yaxis.label.get_fontsize()
    if len(panels) > 1:
        font = min(3.6 + 1.1 * width, 8)
        figure.supylabel(label, fontsize=font)
    _legend(figure, axes, font=font, width=width)
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * font, parse_math=False)
    return figure


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
        if num_columns >= num_panels or (high <= _PAGE and width / num_columns <= max(_LEAST, width / first)):
            return min(num_columns, num_panels)
    return max(int(width / _SMALLEST), 1)


def common_limits(limits: Sequence[tuple[float, float]], *, shared: bool) -> list[tuple[float, float]]:
    """Return `limits`, or for each of them the widest."""
    widest = min(low for low, _ in limits), max(high for _, high in limits)
    return [widest] * len(limits) if shared else list(limits)


def _legend(figure: Figure, axes: Sequence[Axes], *, font: float, width: float) -> None:
    handles: dict[str, object] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    longest = max((len(line) for label in handles for line in label.split("\n")), default=1)
    columns = max(1, min(6, int(72 * width / (font * (0.52 * longest + 2.5)))))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns,
                  frameon=False, fontsize=font, handlelength=1.4, handletextpad=0.5, columnspacing=1.5)
