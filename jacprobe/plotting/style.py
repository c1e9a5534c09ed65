"""How the figures look: sizes from the space there is, names as they are, and a Figure that shows itself."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from numbers import Real

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jacprobe.errors import ArgumentError, DtypeError

INK = "0.15"
QUIET = "0.45"
GROUP = 0.8  # share of a slot that its violins fill
TINY = 1e-300  # the lower edge of what reaches zero, on a logarithmic axis
LEAST_TYPE = 4.5  # points
_MAX_NAME = 22


class SelfShowingFigure(Figure):
    """Figure without pyplot: nothing to close, and Jupyter shows it once, as the value of a cell."""

    def _repr_png_(self) -> bytes:
        # IPython asks its own formatter for Figure first, so that the inline backend never shows it twice.
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def axes_of(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure without pyplot."""
    if ax is None:
        return SelfShowingFigure(layout="constrained").add_subplot()
    if not isinstance(ax, Axes):
        raise DtypeError(f"`ax` must be a matplotlib Axes; got {type(ax).__name__}. Leave it out for a new figure.")
    return ax


def check_positive(value: float, name: str) -> float:
    """Return `value` as a float after checking that it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ArgumentError(f"`{name}` must be a finite number above 0; got {value!r}. Choose a positive one.")
    return float(value)


@dataclass(frozen=True)
class Sizes:
    """Sizes in points that fit the slots of an Axes, each with one violin per set."""

    slot: float
    font: float
    num_sets: int

    @property
    def width(self) -> float:
        """Width of a violin, in slots."""
        return GROUP / self.num_sets

    @property
    def violin(self) -> float:
        """Width of a violin, in points."""
        return self.slot * self.width

    @classmethod
    def of(cls, ax: Axes, num_slots: float, num_sets: int) -> Sizes:
        """Return the sizes for `ax` as wide as it is now, in type no larger than the user's own."""
        inches = ax.get_window_extent().width / ax.figure.dpi
        font = min(max(3.6 + 1.1 * inches, 6.5), matplotlib.rcParams["font.size"])
        return cls(72 * inches / num_slots, font, num_sets)

    def line(self, share: float, low: float, high: float) -> float:
        """Return `share` of a violin's width, within `low` and `high`."""
        return min(max(share * self.violin, low), high)


def name_ticks(ax: Axes, positions: list[float], names: list[str], sizes: Sizes) -> None:
    """Write `names` under `ax`, literally: level where they fit, else slanted, else upright, and long ones elided."""
    short = [elide(name) for name in names]
    broken = [name.replace(" ", "\n") for name in short]
    font = min(sizes.font, max(0.9 * sizes.slot, LEAST_TYPE))
    longest = max(len(line) for name in broken for line in name.split("\n"))
    if 0.6 * font * longest <= 0.95 * sizes.slot:
        short, turn = broken, {}
    elif sizes.slot >= 1.8 * font:
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    else:
        turn = {"rotation": 90, "ha": "right", "va": "center", "rotation_mode": "anchor"}
    ax.set_xticks(positions, short, parse_math=False, fontsize=font, **turn)
    ax.tick_params(axis="x", length=0)


def elide(name: str) -> str:
    """Return `name` with its middle left out where it is long: the end tells layers apart.

    Examples
    --------
    >>> elide("stage1.0.conv1"), elide("encoder.layers.10.self_attn.out_proj")
    ('stage1.0.conv1', 'encode…attn.out_proj')
    """
    return name if len(name) <= _MAX_NAME else f"{name[:6]}…{name[6 - _MAX_NAME + 3:]}"


def short_name(name: str) -> str:
    """Return the name of a layer for that of its weight; other parameters keep theirs.

    Examples
    --------
    >>> short_name("fc1.weight"), short_name("fc1.bias"), short_name("weight")
    ('fc1', 'fc1.bias', 'weight')
    """
    return name.removesuffix(".weight")


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
    ax.tick_params(axis=along, labelsize=font)
    ax.grid(axis=along, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def plain_number(value: float, _position: int = 0) -> str:
    """Return a number as briefly as an axis wants it.

    Examples
    --------
    >>> [plain_number(value) for value in (0.5, 1e-5, 2e10)]
    ['0.5', '1e-5', '2e10']
    """
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a whole number of percent; 0 and 100 only where exact.

    Examples
    --------
    >>> [percent(share) for share in (0, 0.001, 0.504, 0.999, 1)]
    ['0', '<1', '50', '>99', '100']
    """
    if 0 < share < 0.005:
        return "<1"
    return ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
