"""Statistics of the singular values against depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError
from jacprobe.plotting.contexts import figure_width
from jacprobe.plotting.curves import check_log, draw_curves, finish_values
from jacprobe.plotting.hues import colors_of, estimate_text, finished
from jacprobe.plotting.layers import check_epsilon
from jacprobe.plotting.statisticdata import (
    LINEAR,
    STATISTICS,
    VALUES,
    check_statistic,
    kind_of,
    named_sets,
    statistic_of,
    summary_table,
)
from jacprobe.plotting.style import (
    LEAST_TYPE,
    QUIET,
    TINY,
    SelfShowingFigure,
    Sizes,
    axes_of,
    check_positive,
    name_ticks,
)
from jacprobe.results import SpectrumSet

ManySets = SpectrumSet | Mapping[str, SpectrumSet]
_FACTS = ("set", "segment", "position", "kind", "label", "reason")


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
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 1, values=values, label="exact", floor=1e-15)
    >>> depth_data(SpectrumSet((layer,)), statistic="cond")[["segment", "value", "state"]]
      segment  value  state
    0     fc1    3.0  exact
    """
    check_statistic(statistic)
    named = named_sets(results, "results")
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
        Whether the axis is logarithmic; by default where the statistic has a scale and no negative values.
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
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 1, values=values, label="exact", floor=1e-15)
    >>> ax = draw_depth(SpectrumSet((layer,)))
    >>> ax.get_ylabel(), ax.lines[-1].get_ydata().tolist()
    ('mean singular value', [2.0])
    """
    table = depth_data(results, statistic=statistic, kind=kind)
    named = named_sets(results, "results")
    colors = colors_of(len(named), palette, "results")
    epsilon = check_epsilon(epsilon, named)
    log = check_log(log, table["value"], natural=statistic not in LINEAR)
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
    _finish_depth(ax, slots, sizes)
    return ax


def _draw_reference(ax: Axes, statistic: str, epsilon: float, *, log: bool) -> tuple[float, ...]:
    """Draw where an isometry would lie; return what the axis must hold of it."""
    if statistic not in (*VALUES, "mean_square", "cond", "cond_per_input", "gradient_ratio"):
        return ()
    ax.axhline(1, color=QUIET, linewidth=0.8, zorder=0.7, label="_one")
    if statistic not in VALUES:
        return 1.0, 2.0
    low = max(1 - epsilon, TINY) if log else 1 - epsilon
    ax.axhspan(low, 1 + epsilon, color=colors_of(3, None, "")[2], alpha=0.2, linewidth=0, zorder=0.6,
               label=f"1 ± {epsilon:g}")
    return max(1 - 2 * epsilon, 0.5), 1 + 2 * epsilon


def _draw_spread(ax: Axes, table: pd.DataFrame, colors: list[object], index: pd.Series, sizes: Sizes, *,
                 log: bool) -> tuple[float, ...]:
    """Draw mean ± std and the range of the values; return what the axis must hold of them."""
    least = TINY if log else -math.inf
    color = pd.Series([colors[i] for i in index], table.index)
    for low, high, width, label in ((table["value"] - table["std"], table["value"] + table["std"],
                                     sizes.line(0.16, 1.4, 4), "_std"),
                                    (table["min"], table["max"], sizes.line(0.03, 0.5, 0.9), "_range of values")):
        known = low.notna() & high.notna()
        ax.vlines(table["x"][known], low[known].clip(lower=least), high[known], color=list(color[known]),
                  alpha=0.4 if label == "_std" else 0.9, linewidth=width, zorder=2, label=label)
        if known.any():
            ax.scatter([], [], s=60, marker="|", color=QUIET, alpha=0.4 if label == "_std" else 0.9, linewidths=width,
                       label="± std" if label == "_std" else "min to max")
    low = table["min"].where(table["min"] > 1e-3 * table["value"])  # one tiny value must not fill the axis
    deep = table["min"][(table["min"] > 0) & low.isna()]
    shown = [*low, *table["max"], *(table["value"] / 100)[deep.index]]
    foot = table[(table["min"] <= 0) | table.index.isin(deep.index)] if log else table.iloc[:0]
    ax.scatter(foot["x"], [0.02] * len(foot), s=sizes.line(0.3, 3, 4.5) ** 2, marker="v",
               facecolor=list(color[foot.index]),
               edgecolor="white", linewidths=0.5, transform=ax.get_xaxis_transform(), zorder=4, clip_on=False,
               label="_smallest below the axis")
    if len(foot):
        ax.scatter([], [], s=12, marker="v", color=QUIET, label="smallest below the axis")
    return tuple(shown)


def _finish_depth(ax: Axes, slots: list[str], sizes: Sizes) -> None:
    ax.set(xlim=(-0.6, len(slots) - 0.4), xlabel="")
    named = range(0, len(slots), math.ceil(1.2 * LEAST_TYPE / sizes.slot))  # of many every second or third has its name
    name_ticks(ax, list(named), [slots[index] for index in named], sizes)


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
    wanted = [statistics] if isinstance(statistics, str) else list(statistics)
    if not wanted:
        raise ArgumentError("`statistics` must name at least one; got none. Name 'mean'.")
    named = named_sets(results, "results")
    num = max(len(result.select(kind_of(named, kind, "results"))) for result in named.values())
    width = figure_width(width, min(max(1.5 + 0.5 * num, 5.0), 12.0))
    each = min(max(0.42 * width, 1.5), 3.2)
    height = check_positive(each * len(wanted) + 0.6 if height is None else height, "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(len(wanted), 1, squeeze=False)[:, 0])
    for ax, name in zip(axes, wanted, strict=True):
        draw_depth(results, statistic=name, kind=kind, ax=ax, spread=spread, epsilon=epsilon, log=log)
        if ax is not axes[-1]:
            ax.set_xticklabels([])
    font = axes[0].yaxis.label.get_fontsize()
    return finished(figure, axes, font=font, title=title, first=named)
