"""Histograms of connection sensitivity, a row per parameter, with what scores zero and what is kept beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.plotting.hues import PALETTE
from jacprobe.plotting.sensitivitydata import (
    Scored,
    check_scores,
    is_log,
    sensitivity_bins,
    sensitivity_data,
    threshold_of,
)
from jacprobe.plotting.style import INK, LEAST_TYPE, QUIET, axes_of, elide, percent, short_name

COLOR = PALETTE[0]
_PALE = 0.35  # opacity of what is removed
_FULL = 0.86  # of the height of a row, that of its highest bin


def draw_sensitivity(
    scores: Mapping[str, Tensor],
    *,
    masks: Mapping[str, Tensor] | None = None,
    ax: Axes | None = None,
    threshold: float | None = None,
    color: object = None,
    num_bins: int = 60,
    log: bool | None = None,
    label: str = "connection sensitivity",
) -> Axes:
    """Draw the histogram of the scores of each parameter, in rows from the first at the top, and return the Axes.

    All rows have the same bins; the highest bin of each fills its row. What scores exactly zero is in no bin of a
    logarithmic axis: bars at the right show its share. With masks the kept part is solid and the rest pale, a second
    column of bars shows the kept share, and a line marks the threshold, if one separates kept and removed in all rows.
    A triangle at the left end of a row marks scores below the axis, at most 0.1 % of the row.

    Parameters
    ----------
    scores
        Real tensors by parameter name, such as `jacprobe.scores` returns.
    masks
        Masks of the same names and shapes.
    ax
        Where to draw; a new figure without pyplot if None.
    threshold
        Where to draw the line; by default the threshold of the masks.
    color
        Of the histograms.
    num_bins
        Number of bins.
    log
        Whether the scores are on a logarithmic axis; by default where none is negative.
    label
        What the scores are.

    Raises
    ------
    DtypeError, ShapeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, `masks` do not fit them, or an argument is none of the above.

    See Also
    --------
    sensitivity_bins, sensitivity_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> ax = draw_sensitivity({"fc1.weight": torch.tensor([0.0, 1e-6, 1e-5]), "fc2.weight": torch.tensor([1e-4])})
    >>> [tick.get_text() for tick in ax.get_yticklabels()], ax.get_xscale()
    (['fc1', 'fc2'], 'log')
    """
    scored = check_scores(scores, masks)
    log = is_log(scored, log)
    bins = sensitivity_bins(scores, masks=masks, num_bins=num_bins, log=log)
    if threshold is not None:
        threshold = _check_threshold(threshold, log=log)
    elif not log or (threshold_of(scored) or 0) > 0:  # a logarithmic axis has no place for 0
        threshold = threshold_of(scored)
    ax = axes_of(ax)
    if color is not None and not is_color_like(color):
        raise ArgumentError(f"`color` must be a matplotlib color; got {color!r}. Give a name such as 'tab:blue'.")
    color = COLOR if color is None else color
    table = sensitivity_data(scores, masks=masks)
    font, row = _sizes(ax, len(table))
    ax.set_xscale("log" if log else "linear")
    _draw_rows(ax, bins, list(table["parameter"]), color, height=row)
    if log:
        _mark_tails(ax, scored, bins["low"].min(), color, height=row)
    if threshold is not None:
        ax.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=3, label="threshold")
    ax.set_xlim(*_limits(bins, threshold, log=log))
    ax.set_xlabel(label, fontsize=font)
    _style(ax, table, log=log, font=font, row=row)
    _draw_shares(ax, table, color, font=font, row=row)
    return ax


def _check_threshold(threshold: object, *, log: bool) -> float:
    low = 0 if log else -math.inf
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not low < threshold < math.inf:
        raise ArgumentError(f"`threshold` must be a finite number{' above 0' if log else ''}; got {threshold!r}."
                            " Leave it out for that of the masks.")
    return float(threshold)


def _sizes(ax: Axes, num_rows: int) -> tuple[float, float]:
    """Return the size of the type and the height of a row, in points, for `ax` as large as it is now."""
    box = ax.get_window_extent()
    font = min(max(3.6 + 1.1 * box.width / ax.figure.dpi, 6.5), matplotlib.rcParams["font.size"])
    return font, 72 * box.height / ax.figure.dpi / num_rows


def _draw_rows(ax: Axes, bins: pd.DataFrame, names: list[str], color: object, *, height: float) -> None:
    """Draw a filled outline per parameter: pale all of it, solid what is kept (all of it without masks)."""
    for row, name in enumerate(names):
        part = bins[bins["parameter"] == name]
        edges = np.append(part["low"], part["high"].iloc[-1])
        scale = _FULL / max(part["share"].max(), 1e-300)
        base = row + 0.5  # the axis points down: a row stands on the line below it
        masked = part["kept"].notna().all()
        for column, alpha in (("share", _PALE), ("kept", 1)) if masked else (("share", 1),):
            ax.stairs(base - scale * part[column].to_numpy(), edges, baseline=base, fill=True, facecolor=color,
                      alpha=alpha, linewidth=0, label=f"{name} {column}")
        ax.axhline(base, color=QUIET, linewidth=min(0.5, 0.05 * height), zorder=2)
        if not part["share"].any():
            ax.text(0.5, row, "all zero", transform=ax.get_yaxis_transform(), ha="center", va="center", color=QUIET,
                    fontsize=min(6.5, 0.8 * height))


def _mark_tails(ax: Axes, scored: Mapping[str, Scored], low: float, color: object, *,
                height: float) -> None:
    """Mark the rows with scores below the axis; zeros are none."""
    rows = [row for row, (values, _) in enumerate(scored.values()) if ((values > 0) & (values < low)).any()]
    ax.scatter([0.012] * len(rows), [row + 0.3 for row in rows], s=min(3.5, 0.4 * height) ** 2, marker="<",
               facecolor=color, edgecolor="white", linewidth=0.4, transform=ax.get_yaxis_transform(), zorder=4,
               label="below the axis")


def _limits(bins: pd.DataFrame, threshold: float | None, *, log: bool) -> tuple[float, float]:
    low, high = bins["low"].min(), bins["high"].max()
    if threshold is not None:
        low, high = min(low, threshold), max(high, threshold)
    pad = (high / low) ** 0.03 if log else 0.03 * (high - low)
    return (low / pad, high * pad) if log else (low - pad, high + pad)


def _style(ax: Axes, table: pd.DataFrame, *, log: bool, font: float, row: float) -> None:
    ax.set(ylim=(len(table) - 0.5, -0.5))
    named = slice(None, None, math.ceil(LEAST_TYPE / row))  # of many rows every second or third has its name
    ax.set_yticks(range(len(table))[named], [elide(short_name(name)) for name in table["parameter"][named]],
                  parse_math=False, fontsize=min(font, max(0.9 * row, LEAST_TYPE)))
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=font)
    if log:
        ax.xaxis.set_major_locator(LogLocator(numticks=7 if ax.get_window_extent().width > 3 * ax.figure.dpi else 5))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _draw_shares(ax: Axes, table: pd.DataFrame, color: object, *, font: float, row: float) -> None:
    """Draw the shares of zeros and of kept weights as bars in columns at the right of `ax`."""
    columns = {"zeros": "0.35"} if table["kept"].isna().all() else {"zeros": "0.35", "kept": color}
    # inches from the right end of the axis: a share of its width would not settle in a constrained layout
    beside = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
    place = blended_transform_factory(beside, ax.transAxes)
    width = 4 * font / 72
    for index, (column, fill) in enumerate(columns.items()):
        strip = ax.inset_axes([0.1 + 1.15 * width * index, 0, width, 1], transform=place, label=column)
        strip.set(ylim=ax.get_ylim(), xlim=(0, 1), facecolor="none", yticks=[], xticks=[])
        strip.spines[:].set_visible(False)
        strip.barh(range(len(table)), 1, 0.7, color="0.93", label="all")
        strip.barh(range(len(table)), table[column], 0.7, color=fill, label=column)
        strip.tick_params(length=0, pad=1)
        size = min(font - 1, 0.75 * row)
        if size >= 3.5:
            for position, share in enumerate(table[column]):
                inside = share > 0.6  # the number stands where the bar is, or where it is not
                strip.text(0.06 if inside else 0.94, position, percent(share), ha="left" if inside else "right",
                           va="center", fontsize=size, color="white" if inside else INK)
        else:  # too many for numbers; a scale must do
            strip.set_xticks([0, 1], ["0", "100"], fontsize=font - 2)
            for tick, side in zip(strip.get_xticklabels(), ("left", "right"), strict=True):
                tick.set_horizontalalignment(side)
        strip.set_title(f"{column}\n%", fontsize=font - 1, pad=2)
