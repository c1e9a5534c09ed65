"""Marks beside the violins of the layer figure: medians, ranges that bounds leave, words, and the strip of zeros."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from jacprobe.plotting.layerdata import is_flat
from jacprobe.plotting.style import INK, QUIET, TINY, Sizes, percent
from jacprobe.results import Spectrum


def draw_marks(ax: Axes, table: pd.DataFrame, sizes: Sizes) -> None:
    """Draw median and quartiles; a line for a distribution without width; a word where there is none."""
    known = table.dropna(subset="median")
    flat = known[is_flat(known["min"], known["max"])]
    for line, some in (("-", flat["label"] != "estimated"), (":", flat["label"] == "estimated")):
        rows = flat[some]
        ax.hlines(rows["median"], rows["center"] - 0.42 * sizes.width, rows["center"] + 0.42 * sizes.width,
                  color=list(rows["color"]), linestyle=line, linewidth=sizes.line(0.2, 1.2, 3), zorder=2.5)
    ax.vlines(known["center"], known["q25"], known["q75"], color=INK, linewidth=sizes.line(0.16, 0.8, 4), zorder=3)
    ax.scatter(known["center"], known["median"], s=sizes.line(0.26, 1.6, 5) ** 2, color="white", edgecolor=INK,
               linewidth=sizes.line(0.04, 0.3, 0.8), zorder=4)
    for row in table[table["median"].isna() & table["high"].isna()].itertuples():
        ax.text(row.center, 0.03, missing_word(row.spectrum), transform=ax.get_xaxis_transform(), rotation=90,
                ha="center", va="bottom", color=QUIET, fontsize=min(sizes.font - 1, max(sizes.violin, 4.5)))


def draw_ranges(ax: Axes, table: pd.DataFrame, sizes: Sizes) -> None:
    """Draw a frame around what only has bounds, and fill it where the largest values are."""
    width, line = 0.7 * sizes.width, sizes.line(0.04, 0.6, 1.2)
    for row in table.itertuples():
        left, low, top = row.center - width / 2, max(row.low, TINY), max(row.top, TINY)
        ax.add_patch(Rectangle((left, low), width, row.high - low, fill=False, edgecolor=row.color, linestyle="--",
                               linewidth=line, zorder=2.4))
        ax.add_patch(Rectangle((left, top), width, row.high - top, facecolor=(row.color, 0.6), edgecolor=row.color,
                               linewidth=line, zorder=2.5))


def missing_word(spectrum: Spectrum) -> str:
    """Say why there is nothing to draw of this spectrum."""
    if not spectrum.is_known:
        return "no spectrum"
    if not (spectrum.is_complete or spectrum.density is not None):
        return "moments only"
    return "all zero" if spectrum.num_zeros == spectrum.num_inputs * spectrum.dim else "under floor"


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
    strip.bar(center, 1, bar, color="0.93", label="all")
    strip.bar(center, table["zeros"], bar, color=color, label="zeros")
    title = "structural zeros, %"
    if table["under_floor"].any():
        strip.bar(center, table["under_floor"], bar, bottom=table["zeros"], color=color, alpha=0.4, label="under floor")
        title += " (pale: under the floor)"
    font = min(sizes.violin / 2, sizes.font - 1)
    numbers = font >= 4  # else too many for numbers, and a scale must do
    strip.set_xticks(center if numbers else [], map(percent, table["zeros"]) if numbers else [], fontsize=font)
    strip.set_yticks([] if numbers else [0, 1], [] if numbers else ["0", "100"], fontsize=sizes.font - 2)
    strip.set_xlabel(title, fontsize=sizes.font - 1, loc="left", labelpad=2)
