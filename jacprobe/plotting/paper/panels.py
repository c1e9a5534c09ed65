"""One panel of curves: lines with few markers, bands, and gaps where a value is not known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jacprobe.plotting.artists.words import legend_text
from jacprobe.plotting.paper.frames import round_limits, thick_frame, value_axis
from jacprobe.plotting.paper.hues import Mark

_ALL, _SOME = 14, 7  # a curve has a marker at each of so many points, or else so many markers


def draw_panel(ax: Axes, measured: pd.DataFrame, published: pd.DataFrame, marks: Mapping[str, Mark],
               font: float) -> None:
    """Draw the measured curves of one panel solid, with a band of one standard error, and the published ones dashed."""
    for index, (name, mark) in enumerate(marks.items()):
        phase = (index + 0.5) / len(marks)  # markers of different curves stand beside one another
        ours, theirs = measured[measured["curve"] == name], published[published["curve"] == name]
        if len(ours):
            _draw_band(ax, ours, mark, name, font)
            ax.plot(ours["x"], ours["value"], color=mark.color, marker=mark.marker, linestyle="-", linewidth=font / 6.2,
                    markersize=font / 2.2, markeredgewidth=0.14 * font if mark.marker == "x" else 0.0, zorder=3,
                    markevery=sparse_marks(ours, phase=phase), label=legend_text(name))
        if len(theirs):
            ax.plot(theirs["x"], theirs["value"], color=mark.color, marker=mark.hollow, linestyle=(0, (3.2, 1.6)),
                    linewidth=font / 8, markersize=font / 1.5, markerfacecolor="none", markeredgewidth=0.1 * font,
                    zorder=3.2, markevery=sparse_marks(theirs, phase=(phase + 0.5) % 1), label=f"_published {name}")


def _draw_band(ax: Axes, part: pd.DataFrame, mark: Mark, name: str, font: float) -> None:
    low, high = (part["value"] - part["se"]).to_numpy(), (part["value"] + part["se"]).to_numpy()
    if not np.isfinite(low).any():
        return
    x = part["x"].to_numpy()
    ax.fill_between(x, low, high, color=mark.color, alpha=0.22, linewidth=0, zorder=2, label=f"_band {name}")
    alone = lone(low)
    ax.vlines(x[alone], low[alone], high[alone], color=mark.color, alpha=0.5, linewidth=font / 5, zorder=2,
              label=f"_band {name}")


def sparse_marks(part: pd.DataFrame, *, phase: float) -> list[int]:
    """Return which points of a curve have a marker: all of few, else some evenly along x, and those that stand alone.

    Examples
    --------
    >>> long = pd.DataFrame({"x": range(71), "value": 1.0})
    >>> sparse_marks(long, phase=0.5), sparse_marks(long[:3], phase=0.5)
    ([5, 15, 25, 35, 45, 55, 65], [0, 1, 2])
    """
    x, value = part["x"].to_numpy(), part["value"].to_numpy()
    known = np.flatnonzero(np.isfinite(value))
    if len(known) <= _ALL:
        return known.tolist()
    first, last = x[known[0]], x[known[-1]]
    wanted = first + (last - first) * (np.arange(_SOME) + phase) / _SOME
    nearest = known[np.abs(x[known][:, None] - wanted).argmin(axis=0)]
    return sorted({*nearest.tolist(), *lone(value).tolist()})


def lone(values: np.ndarray) -> np.ndarray:
    """Return the positions of finite numbers without a finite neighbour: no line or band reaches them.

    Examples
    --------
    >>> lone(np.array([1.0, np.nan, 1.0, 2.0])).tolist()
    [0]
    """
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    return np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:])


def finish_panel(ax: Axes, table: pd.DataFrame, *, font: float, ylim: tuple[float, float] | None, title: str,
                 ylabel: str, xlabel: str) -> None:
    """Give a panel its frame, its limits and its words."""
    thick_frame(ax, font=font)
    inches = ax.get_window_extent().width / ax.figure.dpi
    round_limits(ax, table["x"].min(), table["x"].max(), most=int(min(max(2.6 * 8 / font * inches, 2), 5)))
    ax.margins(y=0.06)
    low, high = table["value"].min(), table["value"].max()
    if 0 <= low < 0.3 * high:
        ax.set_ylim(-0.04 * high)  # a loss is seen against zero
    if ylim is not None:
        ax.set_ylim(*ylim)
    ax.set_title(title, fontsize=1.05 * font, pad=0.6 * font)
    value_axis(ax, label=ylabel, font=font)
    ax.set_xlabel(xlabel, fontsize=font, labelpad=0.3 * font)
