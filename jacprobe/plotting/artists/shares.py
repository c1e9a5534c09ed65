"""Bars beside an Axes: shares that its own axis of values cannot show, such as those of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, Transform, blended_transform_factory

from jacprobe.plotting.artists.hues import EMPTY, INK
from jacprobe.plotting.artists.words import percent

PALE = 0.4  # opacity of shares that are not zero by structure but under the floor
_LEAST_NUMBER = 3.5  # points


class Share(NamedTuple):
    """Lengths of bars in [0, 1], one by row, and how they look."""

    label: str
    lengths: Sequence[float]
    color: object
    alpha: float = 1.0


def beside(ax: Axes) -> Transform:
    """Return inches from the right end of `ax` along x, and shares of its height along y."""
    # a share of its width would not settle in a constrained layout
    return blended_transform_factory(ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes), ax.transAxes)


def strip_beside(ax: Axes, left: float, width: float, label: str) -> Axes:
    """Return empty Axes at the right of `ax`, in inches from there, as high as it is and without a frame."""
    strip = ax.inset_axes([left, 0, width, 1], transform=beside(ax), label=label)
    strip.set(facecolor="none", xticks=[], yticks=[])
    strip.spines[:].set_visible(False)
    return strip


def column_width(font: float) -> float:
    """Return the width in inches of a column of bars that hold their percentages."""
    return 3.6 * font / 72


def draw_share_column(ax: Axes, centers: Sequence[float], shares: Sequence[Share], *, left: float, thick: float,
                      font: float, row: float) -> None:
    """Draw bars at the right of the rows of `ax`, the percentage of the first share on each.

    Parameters
    ----------
    ax
        Its y axis holds the rows.
    centers
        Where the bars lie on that.
    shares
        The first is written and gives the column its title; each begins where the one before it ends.
    left
        Inches from the right end of `ax`.
    thick
        Of a bar, in units of the y axis.
    font, row
        Size of type, and height of a bar with its margin, in points.
    """
    first = shares[0]
    strip = strip_beside(ax, left, column_width(font), first.label)
    strip.set(xlim=(0, 1), ylim=ax.get_ylim())
    strip.barh(centers, 1, thick, color=EMPTY, label="all")
    base = 0
    for share in shares:
        strip.barh(centers, share.lengths, thick, left=base, color=share.color, alpha=share.alpha, label=share.label)
        base = share.lengths
    size = min(font - 1, 0.75 * row)
    if size >= _LEAST_NUMBER:
        for center, length in zip(centers, first.lengths, strict=True):
            inside = length > 0.6  # the number stands where the bar is, or where it is not
            strip.text(0.06 if inside else 0.94, center, percent(length), ha="left" if inside else "right",
                       va="center", fontsize=size, color="white" if inside else INK)
    else:  # too many for numbers; a scale must do
        strip.set_xticks([0, 1], ["0", "100"], fontsize=font - 2)
        for tick, side in zip(strip.get_xticklabels(), ("left", "right"), strict=True):
            tick.set_horizontalalignment(side)
        strip.tick_params(length=0, pad=1)
    strip.set_title(f"{first.label}\n%", fontsize=font - 1, pad=2)
