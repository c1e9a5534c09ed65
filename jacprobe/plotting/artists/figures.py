"""Figures without pyplot, their size, and the Axes on them."""

from __future__ import annotations

import io
import math

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.errors import DtypeError
from jacprobe.plotting.arguments import check_positive

PAGE = 9.4  # inches that a figure should not be higher than


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


def figure_width(width: float | None, natural: float) -> float:
    """Return `width`, checked; without one what a style or the user has set, or else `natural`, in inches."""
    if width is not None:
        return check_positive(width, "width")
    chosen = float(matplotlib.rcParams["figure.figsize"][0])
    return natural if chosen == float(matplotlib.rcParamsDefault["figure.figsize"][0]) else chosen


def blank_figure(width: float, height: float | None, natural: float) -> Figure:
    """Return an empty figure of this size in inches, as high as is `natural` where no `height` is given."""
    height = check_positive(natural if height is None else height, "height")
    return SelfShowingFigure(figsize=(width, height), layout="constrained")


def grid_axes(figure: Figure, num_axes: int, num_columns: int) -> list[Axes]:
    """Return so many Axes of a figure, line by line."""
    grid = list(figure.subplots(math.ceil(num_axes / num_columns), num_columns, squeeze=False).ravel())
    for ax in grid[num_axes:]:
        ax.remove()
    return grid[:num_axes]


def tiled_axes(num_axes: int, *, width: float, height: float | None, least: float, ratio: float) -> list[Axes]:
    """Return the Axes of a new figure side by side, each at least `least` inches wide and as high as `ratio` says."""
    num_columns = max(1, min(num_axes, int(width / least)))
    each = min(max(ratio * width / num_columns, 0.8 * least), 4.2)
    figure = blank_figure(width, height, each * math.ceil(num_axes / num_columns) + 0.4)
    return grid_axes(figure, num_axes, num_columns)
