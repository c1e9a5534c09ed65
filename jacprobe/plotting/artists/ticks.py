"""Axes: their limits, names along them, and few plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jacprobe.plotting.artists.sizes import LEAST_TYPE, Sizes
from jacprobe.plotting.artists.words import elide, layer_name, plain_number

TINY = 1e-300  # the lower edge of what reaches zero, on a logarithmic axis


def padded(low: float, high: float, share: float, *, log: bool, least: float = 1.0) -> tuple[float, float]:
    """Return the ends of an axis from `low` to `high` with a `share` of that beyond each, or a factor of `least`."""
    if log:
        pad = max((high / low) ** share, least)
        return low / pad, high * pad
    pad = share * (high - low) or 0.1 * abs(high) or 0.1
    return low - pad, high + pad


def name_ticks(ax: Axes, positions: Sequence[float], names: Sequence[str], sizes: Sizes) -> None:
    """Write `names` of layers under `ax`, literally: level where they fit, else slanted, else upright, long ones cut.

    Of more than have room every second or third is written.
    """
    step = math.ceil(1.2 * LEAST_TYPE / sizes.slot)
    short = [elide(layer_name(name)) for name in names[::step]]
    broken = [name.replace(" ", "\n") for name in short]
    font = min(sizes.font, max(0.9 * sizes.slot, LEAST_TYPE))
    longest = max(len(line) for name in broken for line in name.split("\n"))
    if 0.6 * font * longest <= 0.95 * sizes.slot * step:
        short, turn = broken, {}
    elif sizes.slot >= 1.8 * font:
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    else:
        turn = {"rotation": 90, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    ax.set_xticks(positions[::step], short, parse_math=False, fontsize=font, **turn)
    ax.tick_params(axis="x", length=0)


def name_rows(ax: Axes, positions: Sequence[float], names: Sequence[str], *, row: float, font: float) -> None:
    """Write `names` at the left of rows that are `row` points high, literally; of many every second or third."""
    step = math.ceil(1.2 * LEAST_TYPE / row)
    ax.set_yticks(positions[::step], [elide(layer_name(name)) for name in names[::step]], parse_math=False,
                  fontsize=min(font, max(0.85 * row, LEAST_TYPE)))
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def value_ticks(ax: Axes, *, log: bool, font: float, along: str = "y") -> None:
    """Give an axis few plain numbers, also where a logarithmic one spans less than a decade."""
    axis, (low, high) = (ax.yaxis, ax.get_ylim()) if along == "y" else (ax.xaxis, ax.get_xlim())
    room = ax.get_window_extent().width / ax.figure.dpi
    most = 5 if along == "y" else min(max(int(1.6 * room), 2), 5)  # numbers stand side by side along x
    if log:
        wide = high / low
        subs = (1, 2, 5) if wide < 100 and (along == "y" or 1.5 * room > math.log10(wide)) else (1,)
        axis.set_major_locator(MaxNLocator(most) if wide < 5 else LogLocator(subs=subs, numticks=most + 3))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(plain_number))
    elif along == "x":
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_tick_params(labelsize=font)
    ax.grid(axis=along, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
