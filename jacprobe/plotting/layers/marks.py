"""Marks of the layer figures beside violins and ridges: medians, ranges that bounds leave, words, and zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from jacprobe.plotting.artists.hues import EMPTY, INK, QUIET
from jacprobe.plotting.artists.labels import BOUNDED, ESTIMATED, estimate_text, missing_word, name_labels
from jacprobe.plotting.artists.legends import name_sets
from jacprobe.plotting.artists.shares import PALE
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import TINY, padded
from jacprobe.plotting.artists.words import percent
from jacprobe.plotting.spectra.points import is_flat


def draw_marks(ax: Axes, table: pd.DataFrame, sizes: Sizes) -> None:
    """Draw median and quartiles; a line for a distribution without width; a word where there is none."""
    known = table.dropna(subset="median")
    flat = known[is_flat(known["min"], known["max"])]
    for line, some in (("-", flat["label"] != "estimated"), (ESTIMATED, flat["label"] == "estimated")):
        rows = flat[some]
        ax.hlines(rows["median"], rows["center"] - 0.42 * sizes.width, rows["center"] + 0.42 * sizes.width,
                  color=list(rows["color"]), linestyle=line, linewidth=sizes.line(0.2, 1.2, 3), zorder=2.5)
    ax.vlines(known["center"], known["q25"], known["q75"], color=INK, linewidth=sizes.line(0.16, 0.8, 4), zorder=3)
    ax.scatter(known["center"], known["median"], s=sizes.line(0.26, 1.6, 5) ** 2, color="white", edgecolor=INK,
               linewidth=sizes.line(0.04, 0.3, 0.8), zorder=4)
    for row in table[table["median"].isna() & table["high"].isna()].itertuples():
        ax.text(row.center, 0.03, missing_word(row.spectrum), transform=ax.get_xaxis_transform(), rotation=90,
                ha="center", va="bottom", color=QUIET, fontsize=min(sizes.font - 1, max(sizes.violin, 4.5)))


def draw_frame(ax: Axes, entry: tuple, place: float, size: float, color: object, line: float, *, along: str) -> None:
    """Draw a frame around what only has bounds, on the axis `along`, and fill it where the largest values are."""
    low, top = max(entry.low, TINY), max(entry.top, TINY)
    for start, look in ((low, {"fill": False, "linestyle": BOUNDED, "zorder": 2.4}),
                        (top, {"facecolor": (color, 0.6), "zorder": 2.5})):
        corner, extent = (place, start), (size, entry.high - start)
        if along == "x":
            corner, extent = corner[::-1], extent[::-1]
        ax.add_patch(Rectangle(corner, *extent, edgecolor=color, linewidth=line, **look))


def draw_strip(ax: Axes, table: pd.DataFrame, sizes: Sizes) -> None:
    """Draw what no violin shows above `ax`: bars of the shares of zeros and of values under the floor."""
    strip = ax.inset_axes([0, 1.03, 1, 0.1], label="zeros")
    strip.set(xlim=ax.get_xlim(), ylim=(0, 1), facecolor="none")
    strip.spines[:].set_visible(False)
    strip.xaxis.set_label_position("top")
    strip.xaxis.tick_top()
    strip.yaxis.tick_right()
    strip.tick_params(length=0, pad=1)
    center, bar, color = table["center"], 0.88 * sizes.width, list(table["color"])
    strip.bar(center, 1, bar, color=EMPTY, label="all")
    strip.bar(center, table["zeros"], bar, color=color, label="zeros")
    title = "structural zeros, %"
    if table["under_floor"].any():
        strip.bar(center, table["under_floor"], bar, bottom=table["zeros"], color=color, alpha=PALE,
                  label="under floor")
        title += " (pale: under the floor)"
    font = min(sizes.violin / 2, sizes.font - 1)
    numbers = font >= 4  # else too many for numbers, and a scale must do
    strip.set_xticks(center if numbers else [], map(percent, table["zeros"]) if numbers else [], fontsize=font)
    strip.set_yticks([] if numbers else [0, 1], [] if numbers else ["0", "100"], fontsize=sizes.font - 2)
    strip.set_xlabel(title, fontsize=sizes.font - 1, loc="left", labelpad=2)


def name_states(ax: Axes, table: pd.DataFrame, names: Sequence[str], colors: Sequence[object]) -> None:
    """Give the legend one mark per set, and one per label that is not exact."""
    name_sets(ax, dict(zip(names, colors, strict=False)))
    known = table[(table["label"] == "estimated") & table["median"].notna()]
    name_labels(ax, estimated=estimate_text(known["spectrum"]) if len(known) else "",
                bounded="bounded" if table["high"].notna().any() else "")


def has_shares(table: pd.DataFrame) -> bool:
    """Whether some values are zero by structure or under the floor."""
    return bool((table[["zeros", "under_floor"]] > 0).any(axis=None))


def slots_of(table: pd.DataFrame) -> Mapping[float, str]:
    """Return the names of the segments by their positions, in order."""
    return dict(sorted(zip(table["position"], table["segment"], strict=True)))


def value_limits(table: pd.DataFrame, epsilon: float, *, log: bool) -> tuple[float, float]:
    """Return where the axis of the values begins and ends: a logarithmic one at the lowest 5 % quantile."""
    high = np.nanmax([table["max"].max(), table["high"].max(), 1 + 2 * epsilon])
    if not log:
        return 0.0, 1.05 * high
    low = np.nanmin([table["q05"].min(), table.loc[table["top"] > 0, "top"].min(), max(1 - 2 * epsilon, 0.5)])
    return padded(low, high, 0.06, log=True)
