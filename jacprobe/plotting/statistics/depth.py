"""Statistics of the singular values against depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.arguments import ManySets, check_epsilon, check_log, check_sets, check_wanted
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width, grid_axes
from jacprobe.plotting.artists.hues import QUIET, colors_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.labels import estimate_text
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import TINY, name_ticks
from jacprobe.plotting.statistics.curves import draw_curves, finish_values
from jacprobe.plotting.statistics.statistic import (
    STATISTICS,
    VALUES,
    check_statistic,
    kind_of,
    spans_widely,
    statistic_of,
    summary_table,
)

_FACTS = ("set", "segment", "position", "kind", "label", "reason")
_DEEPEST = 0.25  # of a mean: smaller values do not stretch a logarithmic axis


def depth_data(results: ManySets, *, statistic: str = "mean", kind: str | None = None) -> pd.DataFrame:
    """Return the numbers that ``draw_depth`` and ``plot_depth`` draw: one row per set and segment.

    Parameters
    ----------
    results
        One set, or several by name. Segments are matched by name.
    statistic
        A number of ``SpectrumSet.summary``, such as "mean", "cond" or "ldi".
    kind
        "layer", "cumulative" (from the input to the end of each layer), "module" and so on; by default layers, or
        what all sets have.

    Returns
    -------
    DataFrame
        Columns: set, segment, position (in forward order, from 0), kind, label, reason; value, low, high, state:
        "exact", "estimated" (low and high are a standard error away), "bounded" (low and high are bounds), "at least",
        "under floor" or "unknown". For the mean also std, min and max, NaN where not known.

    Raises
    ------
    DtypeError
        `results` or one of its values is no SpectrumSet.
    ArgumentError
        `results` is empty, or its sets have no segments of one kind; there is no such statistic or kind.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum, SpectrumSet
    >>> values = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 1, values=values, label="exact", floor=1e-15)
    >>> depth_data(SpectrumSet((layer,)), statistic="cond")[["segment", "value", "state"]]
      segment  value  state
    0     fc1    3.0  exact
    """
    check_statistic(statistic)
    named = check_sets(results, "results")
    summary = summary_table(named, kind_of(named, kind, "results"))
    table = summary[list(_FACTS)].join(statistic_of(summary, statistic))
    return table.join(summary[["std", "min", "max"]].astype(float)) if statistic == "mean" else table


def draw_depth(
    results: ManySets,
    *,
    statistic: str = "mean",
    kind: str | None = None,
    ax: Axes | None = None,
    spread: bool = True,
    epsilon: float | None = None,
    log: bool | None = None,
    palette: Sequence[object] | None = None,
    **line: object,
) -> Axes:
    """Draw one statistic of every segment, in forward order, a line per set, and return the Axes.

    With the mean goes the spread: a thick bar of one standard deviation to both sides, and a thin one from the
    smallest to the largest value. What is not exact is hollow, as ``ax.legend()`` tells: an estimate has a bar of one
    standard error, and a dashed bar is an interval. Triangles at the foot are zeros, or smallest values under the
    floor; those at the top are infinite. A cross at the foot is a segment of which this is not known.

    Parameters
    ----------
    results, statistic, kind
        As ``depth_data``.
    ax
        Where to draw; a new figure without pyplot if None.
    spread
        Whether the spread is drawn beside the mean.
    epsilon
        Half-width of the shaded band around 1, where the statistic is a singular value; that of the sets if None.
    log
        Whether the axis is logarithmic; by default where the statistic's positive values span a factor of 30.
    palette
        A colour per set.
    **line
        Forwarded to ``Axes.plot``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``depth_data``; `ax` is no Axes, `palette` no colours, `epsilon` not positive or not the same
        in all sets, or `log` does not suit.

    References
    ----------
    Lee et al. 2020, section 3; Pennington, Schoenholz and Ganguli 2017 for the growth with depth.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum, SpectrumSet
    >>> values = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 1, values=values, label="exact", floor=1e-15)
    >>> ax = draw_depth(SpectrumSet((layer,)))
    >>> ax.get_ylabel(), ax.lines[-1].get_ydata().tolist()
    ('mean singular value', [2.0])
    """
    table = depth_data(results, statistic=statistic, kind=kind)
    named = check_sets(results, "results")
    colors = colors_of(len(named), palette, "results")
    epsilon = check_epsilon(epsilon, named)
    log = check_log(log, table["value"], natural=spans_widely(table["value"], statistic))
    ax = axes_of(ax)
    slots = table.drop_duplicates("position").sort_values("position")["segment"].tolist()
    sizes = Sizes.of(ax, len(slots) + 0.2, len(named))
    spread = spread and statistic == "mean"
    dodge = (0.5 if spread else 0.25) / len(named)
    index = table["set"].map(list(named).index)
    curves = table.assign(curve=table["set"], x=table["position"] + dodge * (index - (len(named) - 1) / 2),
                          band_low=np.nan, band_high=np.nan)
    ax.set_yscale("log" if log else "linear")
    around = _draw_reference(ax, statistic, epsilon, log=log)
    if spread:
        around += _draw_spread(ax, curves, colors, index, sizes, log=log)
    used = [s for result in named.values() for s in result.select(table["kind"].iloc[0])]
    draw_curves(ax, curves, colors, sizes, log=log, line=line, estimated=estimate_text(used))
    finish_values(ax, curves, log=log, font=sizes.font, label=STATISTICS[statistic], around=around)
    ax.set(xlim=(-0.6, len(slots) - 0.4), xlabel="")
    name_ticks(ax, range(len(slots)), slots, sizes)
    return ax


def _draw_reference(ax: Axes, statistic: str, epsilon: float, *, log: bool) -> tuple[float, ...]:
    """Draw where an isometry would lie; return what the axis must hold of it."""
    if statistic not in (*VALUES, "mean_square", "cond", "cond_per_input", "gradient_ratio"):
        return ()
    if statistic not in VALUES:
        ax.axhline(1, color=QUIET, linewidth=0.8, zorder=0.7, label="_one")
        return 1.0, 2.0
    draw_isometry_band(ax, epsilon, along="y", log=log)
    return max(1 - 2 * epsilon, 0.5), 1 + 2 * epsilon


def _draw_spread(ax: Axes, table: pd.DataFrame, colors: list[object], index: pd.Series, sizes: Sizes, *,
                 log: bool) -> tuple[float, ...]:
    """Draw mean ± std and the range of the values; return what the axis must hold of them."""
    least = TINY if log else -math.inf
    color = pd.Series([colors[i] for i in index], table.index)
    mean, std = table["value"], table["std"]
    for low, high, width, alpha, label in ((mean - std, mean + std, sizes.line(0.16, 1.4, 4), 0.4, "± std"),
                                           (table["min"], table["max"], sizes.line(0.03, 0.5, 0.9), 0.9, "min to max")):
        known = low.notna() & high.notna()
        ax.vlines(table["x"][known], low[known].clip(lower=least), high[known], color=list(color[known]), alpha=alpha,
                  linewidth=width, zorder=2, label=f"_{label}")
        if known.any():
            ax.scatter([], [], s=60, marker="|", color=QUIET, alpha=alpha, linewidths=width, label=label)
    lowest = np.fmax(table["min"], _DEEPEST * mean).min() if log else table["min"].min()
    deep = table[table["min"] < lowest]
    if len(deep):
        ax.scatter(deep["x"], [0.02] * len(deep), s=sizes.line(0.3, 3, 4.5) ** 2, facecolor=list(color[deep.index]),
                   marker="v", edgecolor="white", linewidths=0.5, transform=ax.get_xaxis_transform(), zorder=4,
                   clip_on=False, label="_smallest below the axis")
        ax.scatter([], [], s=12, marker="v", color=QUIET, label="smallest below the axis")
    return *table["max"], lowest


def plot_depth(
    results: ManySets,
    *,
    statistics: Sequence[str] = ("mean", "cond"),
    kind: str | None = None,
    spread: bool = True,
    epsilon: float | None = None,
    log: bool | None = None,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure of statistics against depth, a panel each below one another; ``draw_depth`` says what is drawn.

    Parameters
    ----------
    results
        One set, or at most ten by name, such as ``{"dense": ..., "pruned": ...}``.
    statistics
        Of ``SpectrumSet.summary``; one panel each.
    kind, spread, epsilon, log
        As ``draw_depth``.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide. By default what a style says, or what is needed.
    title
        Text above the figure.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError
        As ``draw_depth``; `statistics` is empty, or `width` or `height` not positive.
    """
    wanted = check_wanted(statistics, "statistics", "mean")
    named = check_sets(results, "results")
    num = max(len(result.select(kind_of(named, kind, "results"))) for result in named.values())
    width = figure_width(width, min(max(1.5 + 0.5 * num, 5.0), 12.0))
    each = min(max(0.42 * width, 1.5), 3.2)
    axes = grid_axes(blank_figure(width, height, each * len(wanted) + 0.6), len(wanted), 1)
    for ax, name in zip(axes, wanted, strict=True):
        draw_depth(results, statistic=name, kind=kind, ax=ax, spread=spread, epsilon=epsilon, log=log)
        if ax is not axes[-1]:
            ax.set_xticklabels([])
    return finished(axes, title=title, first=named)
