"""The paper's look: a thick black frame, a light grey grid, round limits and plain numbers."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, MaxNLocator

_STEPS = [1, 2, 5, 10]


def thick_frame(ax: Axes, *, font: float) -> None:
    """Draw the paper's frame around `ax` and its grid under what `ax` holds."""
    unit = font / 8
    ax.spines[:].set(color="black", linewidth=1.4 * unit)
    ax.grid(visible=True, color="0.9", linewidth=0.8 * unit)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=font, width=0.9 * unit, length=2.6 * unit, pad=2.2 * unit)


def round_limits(ax: Axes, low: float, high: float, *, most: int) -> None:
    """Let the x axis run from one round number to another, with at most `most` steps and room for markers beside."""
    if not low < high:
        low, high = low - 0.5, high + 0.5
    ends = MaxNLocator(5, steps=_STEPS).tick_values(low, high)
    ticks = MaxNLocator(most, steps=_STEPS).tick_values(ends[0], ends[-1])
    pad = 0.035 * (ends[-1] - ends[0])
    ax.set_xticks([float(tick) for tick in ticks if ends[0] - pad < tick < ends[-1] + pad])
    ax.set_xlim(ends[0] - pad, ends[-1] + pad)
    ax.xaxis.set_major_formatter(FuncFormatter(short_count))


def short_count(value: float, _position: int = 0) -> str:
    """Return a number as an axis of iterations shows it.

    Examples
    --------
    >>> [short_count(value) for value in (0, 0.5, 500, 20_000)]
    ['0', '0.5', '500', '20k']
    """
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def value_axis(ax: Axes, *, label: str, font: float) -> None:
    """Give the y axis few round numbers and its name; a power of ten that they share stands in the name."""
    inches = ax.get_window_extent().height / ax.figure.dpi
    ax.yaxis.set_major_locator(MaxNLocator(min(max(int(3.6 * inches), 3), 6), steps=[1, 2, 2.5, 5, 10]))
    largest = max(map(abs, ax.get_ylim()))
    exponent = math.floor(math.log10(largest)) if largest > 0 and not 1e-3 <= largest < 1e5 else 0
    if exponent:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**exponent:.4g}"))
    room = 0.75 * 72 * inches  # a layout takes its share yet
    text = two_lines(f"{label}{times_ten(exponent)}", room=room, font=font)
    ax.set_ylabel(text, fontsize=font, labelpad=0.4 * font)


def two_lines(text: str, *, room: float, font: float) -> str:
    """Return `text` broken at the space nearest to its middle where it is longer than `room` points.

    Examples
    --------
    >>> two_lines("training accuracy, %", room=60, font=8)
    'training\\naccuracy, %'
    """
    spaces = [index for index, letter in enumerate(text) if letter == " "]
    if not spaces or text_width(text, font) <= room:
        return text
    middle = min(spaces, key=lambda index: abs(index - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1:]}"


def text_width(text: str, font: float) -> float:
    """Return the width of one line of text in points."""
    return float(TextPath((0, 0), text, size=font).get_extents().width) if text.strip() else 0.0


def times_ten(exponent: int) -> str:
    """Return what the name of an axis says of a power of ten left out of its numbers.

    Examples
    --------
    >>> times_ten(-5), times_ten(0)
    (' (×10⁻⁵)', '')
    """
    return f" (×10{str(exponent).translate(_RAISED)})" if exponent else ""


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
