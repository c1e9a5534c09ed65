"""Histograms of connection sensitivity, a row per parameter, with what scores zero and what is kept beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_color
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.hues import INK, PALETTE, QUIET
from jacprobe.plotting.artists.shares import Share, column_width, draw_share_column
from jacprobe.plotting.artists.sizes import row_height, type_size
from jacprobe.plotting.artists.ticks import name_rows, padded, value_ticks
from jacprobe.plotting.artists.words import short_name
from jacprobe.plotting.sensitivity.histogramsdata import is_log, sensitivity_bins, sensitivity_data
from jacprobe.plotting.sensitivity.scores import Scored, check_scores, threshold_of

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
    color = PALETTE[0] if check_color(color) is None else color
    table = sensitivity_data(scores, masks=masks)
    font, row = type_size(ax), row_height(ax, len(table))
    ax.set_xscale("log" if log else "linear")
    _draw_rows(ax, bins, list(table["parameter"]), color, height=row)
    if log:
        _mark_tails(ax, scored, bins["low"].min(), color, height=row)
    if threshold is not None:
        ax.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=3, label="threshold")
    ax.set_xlim(*_limits(bins, threshold, log=log))
    ax.set_xlabel(label, fontsize=font)
    value_ticks(ax, log=log, font=font, along="x")
    ax.set(ylim=(len(table) - 0.5, -0.5))
    name_rows(ax, range(len(table)), [short_name(name) for name in table["parameter"]], row=row, font=font)
    columns = {"zeros": "0.35"} if table["kept"].isna().all() else {"zeros": "0.35", "kept": color}
    for index, (column, fill) in enumerate(columns.items()):
        draw_share_column(ax, range(len(table)), [Share(column, table[column], fill)], thick=0.7, font=font, row=row,
                          left=0.1 + 1.3 * column_width(font) * index)
    return ax


def _check_threshold(threshold: object, *, log: bool) -> float:
    low = 0 if log else -math.inf
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not low < threshold < math.inf:
        raise ArgumentError(f"`threshold` must be a finite number{' above 0' if log else ''}; got {threshold!r}."
                            " Leave it out for that of the masks.")
    return float(threshold)


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
    return padded(low, high, 0.03, log=log)
