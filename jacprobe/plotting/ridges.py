"""Ridgelines: a density per layer, from the first at the top to the last at the bottom, on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform, blended_transform_factory

from jacprobe.errors import DtypeError
from jacprobe.plotting.contexts import figure_width
from jacprobe.plotting.hues import PALETTE, colors_of, estimate_text, finished, legend_text
from jacprobe.plotting.layerdata import is_flat, layer_order, layer_table
from jacprobe.plotting.layers import check_epsilon
from jacprobe.plotting.marks import missing_word
from jacprobe.plotting.ridgedata import curves_of
from jacprobe.plotting.statisticdata import layer_sets
from jacprobe.plotting.style import (
    INK,
    LEAST_TYPE,
    QUIET,
    TINY,
    SelfShowingFigure,
    Sizes,
    axes_of,
    check_positive,
    elide,
    percent,
    plain_number,
)
from jacprobe.results import SpectrumSet

_OVERLAP = 1.25  # rows that the highest point of a curve reaches up
_HATCH = "//////"


def draw_ridges(
    result: SpectrumSet,
    *,
    ax: Axes | None = None,
    epsilon: float | None = None,
    color: object = None,
    label: str | None = None,
    log: bool = True,
    include_end_to_end: bool = True,
    **ridge: object,
) -> Axes:
    """Draw the density of the singular values of each layer as a ridge, the first at the top, and return the Axes.

    Every ridge is as high as the others and ends at its smallest and largest value above the floor; a dot is its
    median, and a distribution without width is an upright line. What is not exact looks otherwise, as ``ax.legend()``
    tells: an estimate is hatched (or a dotted line); where there are only bounds, a dashed frame holds all values, and
    its filled part the largest. Bars at the right show the share of structural zeros, and pale that under the floor.

    Parameters
    ----------
    result
        Spectra with at least one layer.
    ax
        Where to draw; a new figure without pyplot if None.
    epsilon
        Half-width of the shaded band around 1; that of `result` if None.
    color, label
        Of the ridges; the label is what ``ax.legend()`` shows.
    log
        Whether the values are on a logarithmic axis, and their densities those of the logarithms.
    include_end_to_end
        Whether the end-to-end spectrum follows the layers, where `result` has one.
    **ridge
        Forwarded to ``Axes.fill_between``.

    Raises
    ------
    DtypeError
        `result` is no SpectrumSet, or `ax` no Axes.
    ArgumentError
        `result` has no layer, `epsilon` is not a positive number, or `color` no color.

    See Also
    --------
    ridges_data, layers_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_ridges(SpectrumSet((layer,)))
    >>> [tick.get_text() for tick in ax.get_yticklabels()], ax.get_xscale()
    (['fc1'], 'log')
    """
    if isinstance(result, Mapping):
        raise DtypeError("`result` must be one SpectrumSet; got a mapping. Use `plot_ridges` for several.")
    named = layer_sets(result, "result")
    epsilon = check_epsilon(epsilon, named)
    palette = None if color is None else [color]
    return draw_rows({label or "": result} if named else {}, ax=axes_of(ax), epsilon=epsilon,
                     colors=colors_of(1, palette, "result"), log=log, end_to_end=include_end_to_end, ridge=ridge)


def draw_rows(results: Mapping[str, SpectrumSet], *, ax: Axes, epsilon: float, colors: Sequence[object], log: bool,
              end_to_end: bool, ridge: Mapping[str, object], limits: tuple[float, float] | None = None,
              shares: bool = False) -> Axes:
    """Draw the ridges of all sets over one another, a row per segment; shares beside them where any, or if True."""
    table = layer_table(results, end_to_end=end_to_end)
    table["index"] = table["set"].map(list(results).index)
    slots = dict(sorted(zip(table["position"], table["segment"], strict=True)))
    box = ax.get_window_extent()
    row = 72 * box.height / ax.figure.dpi / (max(slots) + 1.6)
    font = Sizes.of(ax, 1, 1).font
    ax.set_xscale("log" if log else "linear")
    low = max(1 - epsilon, TINY) if log else 1 - epsilon
    ax.axvspan(low, 1 + epsilon, color=PALETTE[2], alpha=0.2, linewidth=0, zorder=0.6, label=f"1 ± {epsilon:g}")
    ax.axvline(1, color=QUIET, linewidth=0.8, zorder=0.7, label="_one")
    ax.set_xlim(*(value_limits(table, epsilon, log=log) if limits is None else limits))
    curves = dict(list(curves_of(table, log=log).groupby(["set", "position"])))
    for entry in table.itertuples():
        curve = curves.get((entry.set, entry.position))
        _draw_row(ax, entry, curve, colors[entry.index], ridge, row=row, several=len(results) > 1, font=font)
    for position in slots:
        ax.axhline(position + 0.4, color=QUIET, linewidth=0.5 * _line(row), zorder=_order(position) + 0.002,
                   label="_base")
    known = table.dropna(subset="median")
    ax.scatter(known["median"], known["position"] + 0.4, s=min(max(0.3 * row, 2), 4.5) ** 2, color="white", zorder=4,
               edgecolor=[colors[index] for index in known["index"]], linewidth=_line(row), label="_medians")
    _name_states(ax, table, colors, results)
    ax.set(ylim=(max(slots) + 0.6, -1.0))
    ax.set_xlabel("singular value", fontsize=font)
    _finish_rows(ax, slots, log=log, font=font, row=row)
    if shares or _any_shares(table):
        _draw_shares(ax, table, colors, font=font, row=row)
    return ax


def _any_shares(table: pd.DataFrame) -> bool:
    return bool((table[["zeros", "under_floor"]] > 0).any(axis=None))


def value_limits(table: pd.DataFrame, epsilon: float, *, log: bool) -> tuple[float, float]:
    """Return where the axis of the values begins and ends: at the lowest 5 % quantile, as in the layer figure."""
    high = np.nanmax([table["max"].max(), table["high"].max(), 1 + 2 * epsilon])
    if not log:
        return 0.0, 1.05 * high
    low = np.nanmin([table["q05"].min(), table.loc[table["top"] > 0, "top"].min(), max(1 - 2 * epsilon, 0.5)])
    pad = (high / low) ** 0.06
    return low / pad, high * pad


def _draw_row(ax: Axes, entry: tuple, curve: pd.DataFrame | None, color: object, ridge: Mapping[str, object], *,
              row: float, several: bool, font: float) -> None:
    """Draw what is known of one spectrum in its row: a ridge, a line, a frame or a word."""
    base, thin = entry.position + 0.4, _line(row)
    order = _order(entry.position)
    estimated = entry.label == "estimated"
    if curve is not None:
        look = {"facecolor": (color, 0.3 if several else 0.75), "edgecolor": color if several else "white",
                "linewidth": 1.4 * thin if several else thin, "zorder": order, "label": f"_{entry.segment}"}
        look |= {"hatch": _HATCH, "edgecolor": color if several else INK} if estimated else {}
        ax.fill_between(curve["x"], base - _OVERLAP * curve["density"], base, **{**look, **ridge})
    elif np.isfinite(entry.median) and is_flat(entry.min, entry.max):
        ax.vlines([entry.median], base - 0.9, base, color=[color], linewidth=max(2.5 * thin, 1.2), zorder=order,
                  linestyle=":" if estimated else "-", label=f"_{entry.segment}")
    if np.isfinite(entry.high):
        _draw_frame(ax, entry, base, color, thin)
    elif not np.isfinite(entry.median):
        ax.text(0.99, base - 0.1 - 0.28 * entry.index, missing_word(entry.spectrum), transform=ax.get_yaxis_transform(),
                ha="right", va="bottom", color=color if several else QUIET, fontsize=min(font - 1, max(0.6 * row, 4)))


def _order(position: float) -> float:
    """Return what puts lower rows in front of the higher."""
    return 2 + 0.01 * position


def _line(row: float) -> float:
    """Return the width of a thin line in rows so high."""
    return min(max(0.06 * row, 0.4), 1.0)


def _draw_frame(ax: Axes, entry: tuple, base: float, color: object, line: float) -> None:
    """Draw a frame around what only has bounds, and fill it where the largest values are."""
    low, top = max(entry.low, TINY), max(entry.top, TINY)
    ax.add_patch(Rectangle((low, base - 0.6), entry.high - low, 0.6, fill=False, edgecolor=color, linestyle="--",
                           linewidth=line, zorder=2.4))
    ax.add_patch(Rectangle((top, base - 0.6), entry.high - top, 0.6, facecolor=(color, 0.6), edgecolor=color,
                           linewidth=line, zorder=2.5))


def _name_states(ax: Axes, table: pd.DataFrame, colors: Sequence[object], results: Mapping[str, SpectrumSet]) -> None:
    """Give the legend one mark per set, and one per label that is not exact."""
    for name, color in zip(results, colors, strict=True):
        if name:
            ax.scatter([], [], marker="s", color=[color], label=legend_text(name))
    known = table[(table["label"] == "estimated") & table["median"].notna()]
    if len(known):
        ax.scatter([], [], marker="s", s=60, facecolor="0.85", edgecolor=INK, linewidth=0.5, hatch=_HATCH,
                   label=estimate_text(known["spectrum"]))
    if table["high"].notna().any():
        ax.scatter([], [], marker="s", s=60, facecolor="none", edgecolor=INK, linestyle="--", label="bounded")


def _finish_rows(ax: Axes, slots: Mapping[float, str], *, log: bool, font: float, row: float) -> None:
    named = list(slots)[::math.ceil(1.2 * LEAST_TYPE / row)]  # of many rows every second or third has its name
    ax.set_yticks([position + 0.4 for position in named], [elide(slots[position]) for position in named],
                  parse_math=False, fontsize=min(font, max(0.85 * row, LEAST_TYPE)))
    for tick in ax.get_yticklabels():
        tick.set_verticalalignment("bottom")
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=font)
    low, high = ax.get_xlim()
    few = 4 if ax.get_window_extent().width < 2 * ax.figure.dpi else 7
    if log:
        wide = high / low
        ax.xaxis.set_major_locator(MaxNLocator(few - 1) if wide < 4 else LogLocator(
            subs=(1,) if wide > 30 else (1, 2, 5) if few > 4 else (1, 3), numticks=few + 1))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(few))
    ax.grid(axis="x", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def beside(ax: Axes) -> Transform:
    """Return inches from the right end of `ax` along x, and shares of its height along y."""
    # a share of its width would not settle in a constrained layout
    return blended_transform_factory(ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes), ax.transAxes)


def _draw_shares(ax: Axes, table: pd.DataFrame, colors: Sequence[object], *, font: float, row: float) -> None:
    """Draw the shares of zeros, and of values under the floor, as bars at the right of `ax`."""
    strip = ax.inset_axes([0.06, 0, shares_width(font), 1], transform=beside(ax), label="zeros")
    strip.set(ylim=ax.get_ylim(), xlim=(0, 1), facecolor="none", xticks=[], yticks=[])
    strip.spines[:].set_visible(False)
    known = table.dropna(subset="zeros")
    num = table["index"].max() + 1
    thick = 0.8 / num
    center = known["position"] + (known["index"] - (num - 1) / 2) * thick
    color = [colors[index] for index in known["index"]]
    strip.barh(center, 1, 0.92 * thick, color="0.93", label="all")
    strip.barh(center, known["zeros"], 0.92 * thick, color=color, label="zeros")
    title = "zeros\n%"
    if known["under_floor"].any():
        strip.barh(center, known["under_floor"], 0.92 * thick, left=known["zeros"], color=color, alpha=0.4,
                   label="under floor")
    size = min(font - 1, 0.75 * row * thick / 0.8)
    if size >= 3.5:
        for place, share in zip(center, known["zeros"], strict=True):
            inside = share > 0.6
            strip.text(0.06 if inside else 0.94, place, percent(share), ha="left" if inside else "right",
                       va="center", fontsize=size, color="white" if inside else INK)
    else:  # too many for numbers; a scale must do
        strip.set_xticks([0, 1], ["0", "100"], fontsize=font - 2)
        strip.tick_params(length=0, pad=1)
    strip.set_title(title, fontsize=font - 1, pad=2)


def shares_width(font: float) -> float:
    """Return the width in inches of the bars beside the ridges."""
    return 3.6 * font / 72


def plot_ridges(
    results: SpectrumSet | Mapping[str, SpectrumSet],
    *,
    epsilon: float | None = None,
    log: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
    end_to_end: bool = True,
) -> Figure:
    """Return a figure of ridgelines, a column per set on the same axis; ``draw_ridges`` says what is drawn.

    Parameters
    ----------
    results
        One set, or at most ten by name. ``plot_comparison`` draws them over one another.
    epsilon, log, end_to_end
        As ``draw_ridges``; by default `epsilon` is that of the sets.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide. By default the height grows with the layers.
    title
        Text above the figure.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError
        As ``draw_ridges``; `results` is empty or has more than ten sets, `width` or `height` is not positive, or
        the sets differ in `epsilon` and none is given.
    """
    named = layer_sets(results, "results")
    colors = colors_of(len(named), None, "results")
    epsilon = check_epsilon(epsilon, named)
    width = figure_width(width, min(1.5 + 2.6 * len(named), 10.0))
    height = check_positive(rows_height(named) if height is None else height, "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, len(named), squeeze=False)[0])
    table = layer_table(named, end_to_end=end_to_end)
    order = {"": table} if len(named) == 1 else dict(list(table.groupby("set")))
    aligned = all(part["segment"].tolist() == next(iter(order.values()))["segment"].tolist() for part in order.values())
    for ax, (name, result), color in zip(axes, named.items(), colors, strict=True):
        draw_rows({"": result}, ax=ax, epsilon=epsilon, colors=[color], log=log, end_to_end=end_to_end, ridge={},
                  limits=value_limits(table, epsilon, log=log), shares=_any_shares(table))
        if name:
            ax.set_title(elide(name), fontsize=ax.xaxis.label.get_fontsize(), pad=3, parse_math=False)
        if ax is not axes[0] and aligned:
            ax.set_yticklabels([])
        if ax is not axes[(len(axes) - 1) // 2]:
            ax.set_xlabel("")
    font = axes[0].xaxis.label.get_fontsize()
    return finished(figure, axes, font=font, title=title)


def rows_height(results: Mapping[str, SpectrumSet]) -> float:
    """Return the height in inches that a row per layer needs."""
    num = (len(layer_order(results)) + 1.5) * max(1.0, matplotlib.rcParams["font.size"] / 11)
    return min(max(0.3 * num, 1.0), max(5.0, 0.15 * num), 9.4) + 1.0
