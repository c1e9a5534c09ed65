"""Sizes of type and marks from the space there is."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes

GROUP = 0.8  # share of a slot that its violins fill
LEAST_TYPE = 4.5  # points


def type_size(ax: Axes) -> float:
    """Return the size in points of type for `ax` as wide as it is now, no larger than the user's own."""
    return min(max(3.6 + 1.1 * _inches(ax)[0], 6.5), matplotlib.rcParams["font.size"])


def row_height(ax: Axes, num_rows: float) -> float:
    """Return the height in points of each of `num_rows` rows of `ax` as high as it is now."""
    return 72 * _inches(ax)[1] / num_rows


def _inches(ax: Axes) -> tuple[float, float]:
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


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
    def of(cls, ax: Axes, num_slots: float = 1, num_sets: int = 1) -> Sizes:
        """Return the sizes for `ax` as wide as it is now."""
        return cls(72 * _inches(ax)[0] / num_slots, type_size(ax), num_sets)

    def line(self, share: float, low: float, high: float) -> float:
        """Return `share` of a violin's width, within `low` and `high`."""
        return min(max(share * self.violin, low), high)
