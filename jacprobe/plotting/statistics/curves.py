"""Curves of known, doubtful and infinite points: what depth, sparsity and training have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from jacprobe.plotting.artists.hues import MARKERS, QUIET
from jacprobe.plotting.artists.labels import BOUNDED
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import TINY, padded, value_ticks
from jacprobe.plotting.artists.words import legend_text

_MOST_MARKED = 30  # points of a curve that have a marker each
_FOOT, _TOP = 0.025, 0.975  # of the height of the Axes
BAND = "± std of runs"
LOWER_BOUND, FOOT, TOP, UNKNOWN = "lower bound", "0 or under the floor", "infinite", "not known"


def draw_curves(ax: Axes, table: pd.DataFrame, colors: list[object], sizes: Sizes, *, log: bool,
                line: Mapping[str, object], estimated: str = "estimated") -> None:
    """Draw a line per curve through its finite points, and a mark for every point that is none of them.

    The columns of `table` are curve, x, value, low, high, band_low, band_high and state, as ``statistic_of`` has it.
    What is not exact is hollow with a bar from low to high; triangles at the foot are zeros of a logarithmic axis,
    those at the top infinite; a cross at the foot is not known.
    """
    for index, (name, part) in enumerate(table.groupby("curve", sort=False)):
        _draw_curve(ax, part.sort_values("x", kind="stable"), index, colors[index], sizes, log=log, line=line,
                    label=legend_text(name) if name else "_nolegend_")
    color = [colors[index] for index in table.groupby("curve", sort=False).ngroup()]
    edge = {"transform": ax.get_xaxis_transform(), "zorder": 5, "linewidths": 0.7, "clip_on": False}
    size = _marker(sizes) ** 2 * 1.3
    for mark, height, label, chosen in (("v", _FOOT, FOOT, _is_foot(table, log=log)),
                                        ("^", _TOP, TOP, np.isinf(table["value"])),
                                        ("x", _FOOT, UNKNOWN, table["state"] == "unknown")):
        if chosen.any():
            fill = [c for c, is_chosen in zip(color, chosen, strict=True) if is_chosen]
            faces = {"color": fill} if mark == "x" else {"facecolor": fill, "edgecolor": "white"}
            ax.scatter(table["x"][chosen], [height] * int(chosen.sum()), s=size, marker=mark, label=f"_{label}",
                       **faces, **edge)
            ax.scatter([], [], s=size, marker=mark, color=QUIET, label=label)
    if table["band_low"].notna().any():
        ax.fill_between([], [], color=QUIET, alpha=0.3, linewidth=0, label=BAND)
    _name_states(ax, table, estimated, size)


def _draw_curve(ax: Axes, part: pd.DataFrame, index: int, color: object, sizes: Sizes, *, log: bool,
                line: Mapping[str, object], label: str) -> None:
    hidden = _is_foot(part, log=log) | ~np.isfinite(part["value"])
    x, y = part["x"].to_numpy(), part["value"].mask(hidden).to_numpy()
    least = TINY if log else -np.inf
    band = part["band_low"].notna() & part["band_high"].notna()
    if band.any():
        ax.fill_between(x, part["band_low"].clip(lower=least).to_numpy(), part["band_high"].to_numpy(), color=color,
                        alpha=0.18, linewidth=0, zorder=1.5, label=f"_band {index}")
    bars = part[part["low"].notna() & part["high"].notna() & np.isfinite(part["high"])]
    if len(bars):
        ax.vlines(bars["x"], bars["low"].clip(lower=least), bars["high"], color=[color], linewidth=0.8, zorder=2.2,
                  linestyle=BOUNDED if (bars["state"] == "bounded").any() else "-", label=f"_range {index}")
    defaults = {"color": color, "zorder": 2.5, "linewidth": sizes.line(0.1, 0.9, 1.6)}
    if not {"ls", "linestyle"} & line.keys():
        defaults["linestyle"] = "-"
    chosen = {key: value for key, value in defaults.items() if key not in line}
    marked = {"marker": MARKERS[index], "markersize": _marker(sizes), "markeredgecolor": "white",
              "markeredgewidth": 0.5} if len(part) <= _MOST_MARKED else {}
    ax.plot(x, y, **{"label": label, **marked, **chosen, **line})
    doubtful = part[~hidden & part["state"].isin(["estimated", "bounded", "at least"])]
    ax.scatter(doubtful["x"], doubtful["value"], s=(1.25 * _marker(sizes)) ** 2, facecolor="white", edgecolor=[color],
               linewidths=0.9, marker=MARKERS[index], zorder=3, label=f"_doubtful {index}")
    for row in doubtful[doubtful["state"] == "at least"].itertuples():
        ax.annotate("", (row.x, row.value), (0, 2.6 * _marker(sizes)), textcoords="offset points",
                    arrowprops={"arrowstyle": "<-", "color": color, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0})


def _is_foot(table: pd.DataFrame, *, log: bool) -> pd.Series:
    return (table["state"] == "under floor") | (log & (table["value"] <= 0))


def _marker(sizes: Sizes) -> float:
    return sizes.line(0.4, 3.2, 4.8)


def _name_states(ax: Axes, table: pd.DataFrame, estimated: str, size: float) -> None:
    """Give the legend a mark for each label that is not exact."""
    hollow = {"s": size, "facecolor": "white", "edgecolor": QUIET, "linewidths": 0.9}
    for state, label, marker in (("estimated", estimated, "o"), ("at least", LOWER_BOUND, r"$\uparrow$")):
        if (table["state"] == state).any():
            ax.scatter([], [], marker=marker, label=label, **hollow)
    if (table["state"] == "bounded").any():
        ax.plot([], [], color=QUIET, linewidth=0.8, linestyle=BOUNDED, label="bounded")


def finish_values(ax: Axes, table: pd.DataFrame, *, log: bool, font: float, label: str,
                  around: tuple[float, ...] = ()) -> None:
    """Give the y axis its limits, so that they hold every finite number and `around`, its ticks and its name."""
    columns = [c for c in ("value", "low", "high", "band_high") if c in table]
    numbers = np.concatenate([table[columns].to_numpy(dtype=float).ravel(), np.array(around, dtype=float)])
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
    low, high = (numbers.min(), numbers.max()) if numbers.size else (1.0, 10.0)
    if log:
        ax.set(yscale="log", ylim=padded(low, high, 0.1, log=True, least=1.15))
    else:
        bottom, top = padded(low, high, 0.08, log=False)
        ax.set_ylim(bottom if low < 0 or low > 0.5 * high else min(0.0, low) - 0.02 * high, top)
    ax.set_ylabel(label, fontsize=font)
    value_ticks(ax, log=log, font=font)
    if log and not _has_ticks(ax):
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    elif not log:
        ax.yaxis.set_major_locator(MaxNLocator(5))


def _has_ticks(ax: Axes) -> bool:
    low, high = ax.get_ylim()
    return sum(low <= tick <= high for tick in ax.yaxis.get_major_locator()()) >= 2


