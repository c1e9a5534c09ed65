"""Rows of layers: the densities, frames and words of each, with the shares of zeros beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from jacprobe.plotting.artists.figures import PAGE
from jacprobe.plotting.artists.hues import INK, QUIET
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.labels import ESTIMATED, HATCH, missing_word
from jacprobe.plotting.artists.shares import PALE, Share, draw_share_column
from jacprobe.plotting.artists.sizes import row_height, type_size
from jacprobe.plotting.artists.ticks import name_rows, value_ticks
from jacprobe.plotting.layers.layersdata import layer_order
from jacprobe.plotting.layers.marks import draw_frame, has_shares, name_states, slots_of, value_limits
from jacprobe.plotting.layers.ridgesdata import curves_of
from jacprobe.plotting.spectra.points import is_flat
from jacprobe.results import SpectrumSet

_OVERLAP = 1.25  # rows that the highest point of a curve reaches up
_FOOT = 0.4  # of a row, below its middle: where its ridge stands


def draw_rows(ax: Axes, table: pd.DataFrame, colors: Sequence[object], *, epsilon: float, log: bool,
              ridge: Mapping[str, object] | None = None, limits: tuple[float, float] | None = None,
              shares: bool = False) -> Axes:
    """Draw a ``layer_table`` in rows, a colour per set; the bars of zeros are beside them where any, or if `shares`."""
    names = list(dict.fromkeys(table["set"]))
    table = table.assign(index=table["set"].map(names.index))
    slots = slots_of(table)
    row, font = row_height(ax, max(slots) + 1.6), type_size(ax)
    ax.set_xscale("log" if log else "linear")
    draw_isometry_band(ax, epsilon, along="x", log=log)
    ax.set_xlim(*(value_limits(table, epsilon, log=log) if limits is None else limits))
    curves = dict(list(curves_of(table, log=log).groupby(["set", "position"])))
    for entry in table.itertuples():
        curve = curves.get((entry.set, entry.position))
        _draw_row(ax, entry, curve, colors[entry.index], ridge or {}, row=row, several=len(names) > 1, font=font)
    for position in slots:
        ax.axhline(position + _FOOT, color=QUIET, linewidth=0.5 * _line(row), zorder=_order(position) + 0.002,
                   label="_base")
    known = table.dropna(subset="median")
    ax.scatter(known["median"], known["position"] + _FOOT, s=min(max(0.3 * row, 2), 4.5) ** 2, color="white", zorder=4,
               edgecolor=[colors[index] for index in known["index"]], linewidth=_line(row), label="_medians")
    name_states(ax, table, names, colors)
    ax.set(ylim=(max(slots) + 0.6, -1.0))
    ax.set_xlabel("singular value", fontsize=font)
    value_ticks(ax, log=log, font=font, along="x")
    name_rows(ax, [position + _FOOT for position in slots], list(slots.values()), row=row, font=font)
    for tick in ax.get_yticklabels():
        tick.set_verticalalignment("bottom")
    if shares or has_shares(table):
        _draw_shares(ax, table, colors, font=font, row=row)
    return ax


def _draw_row(ax: Axes, entry: tuple, curve: pd.DataFrame | None, color: object, ridge: Mapping[str, object], *,
              row: float, several: bool, font: float) -> None:
    """Draw what is known of one spectrum in its row: a ridge, a line, a frame or a word."""
    base, thin, order = entry.position + _FOOT, _line(row), _order(entry.position)
    estimated = entry.label == "estimated"
    if curve is not None:
        look = {"facecolor": (color, 0.3 if several else 0.75), "edgecolor": color if several else "white",
                "linewidth": 1.4 * thin if several else thin, "zorder": order, "label": f"_{entry.segment}"}
        look |= {"hatch": HATCH, "edgecolor": color if several else INK} if estimated else {}
        ax.fill_between(curve["x"], base - _OVERLAP * curve["density"], base, **{**look, **ridge})
    elif np.isfinite(entry.median) and is_flat(entry.min, entry.max):
        ax.vlines([entry.median], base - 0.9, base, color=[color], linewidth=max(2.5 * thin, 1.2), zorder=order,
                  linestyle=ESTIMATED if estimated else "-", label=f"_{entry.segment}")
    if np.isfinite(entry.high):
        draw_frame(ax, entry, base - 0.6, 0.6, color, thin, along="x")
    elif not np.isfinite(entry.median):
        ax.text(0.99, base - 0.1 - 0.28 * entry.index, missing_word(entry.spectrum), transform=ax.get_yaxis_transform(),
                ha="right", va="bottom", color=color if several else QUIET, fontsize=min(font - 1, max(0.6 * row, 4)))


def _order(position: float) -> float:
    """Return what puts lower rows in front of the higher."""
    return 2 + 0.01 * position


def _line(row: float) -> float:
    """Return the width of a thin line in rows so high."""
    return min(max(0.06 * row, 0.4), 1.0)


def _draw_shares(ax: Axes, table: pd.DataFrame, colors: Sequence[object], *, font: float, row: float) -> None:
    """Draw the shares of zeros, and of values under the floor, as bars at the right of `ax`."""
    known = table.dropna(subset="zeros")
    num = table["index"].max() + 1
    slot = 0.8 / num
    color = [colors[index] for index in known["index"]]
    draw_share_column(ax, known["position"] + (known["index"] - (num - 1) / 2) * slot,
                      [Share("zeros", known["zeros"], color), Share("under floor", known["under_floor"], color, PALE)],
                      left=0.06, thick=0.92 * slot, font=font, row=row / num)


def rows_height(results: Mapping[str, SpectrumSet]) -> float:
    """Return the height in inches that a row per layer needs."""
    num = (len(layer_order(results)) + 1.5) * max(1.0, matplotlib.rcParams["font.size"] / 11)
    return min(max(0.3 * num, 1.0), max(5.0, 0.15 * num), PAGE) + 1.0
