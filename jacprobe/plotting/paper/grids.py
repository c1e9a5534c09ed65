"""Figures of panels in a grid, as wide as a column or a page, with fonts that publishers accept."""

from __future__ import annotations

import math
from numbers import Integral
from os import PathLike
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_positive
from jacprobe.plotting.artists.figures import SelfShowingFigure, figure_width

COLUMN, TEXT = 84 / 25.4, 174 / 25.4  # widths of one and of two columns, in inches
_VECTOR = ("pdf", "svg", "svgz", "eps", "ps")
_PANEL = 1.45  # inches that a panel needs with its numbers


class PaperFigure(SelfShowingFigure):
    """Figure whose vector files hold text as TrueType and pictures cell by cell, whatever the style at that time."""

    def savefig(self, fname: object, **kwargs: object) -> None:
        """Save as matplotlib does, fonts embedded."""
        suffix = Path(fname).suffix[1:] if isinstance(fname, str | PathLike) else ""
        kind = str(kwargs.get("format") or suffix or matplotlib.rcParams["savefig.format"])
        images = [image for ax in self.axes for image in ax.images] if kind.lower() in _VECTOR else []
        before = [image.get_interpolation() for image in images]
        for image in images:
            image.set_interpolation("none")  # a viewer scales the cells themselves, not a picture of them
        try:
            with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}):
                super().savefig(fname, **kwargs)
        finally:
            for image, interpolation in zip(images, before, strict=True):
                image.set_interpolation(interpolation)


def panel_figure(num_panels: int, *, columns: int | None, width: float | None, aspect: float,
                 ) -> tuple[PaperFigure, list[Axes], float]:
    """Return a figure, its Axes in reading order, each `aspect` times as high as wide, and the size of their type."""
    if columns is not None and (isinstance(columns, bool) or not isinstance(columns, Integral) or columns < 1):
        raise ArgumentError(f"`columns` must be a whole number of at least 1; got {columns!r}. Leave it out.")
    width = figure_width(width, COLUMN if num_panels == 1 else TEXT)
    rows, columns = panel_grid(num_panels, columns, width)
    each = width / columns
    figure = PaperFigure(figsize=(width, rows * min(max(aspect * each, 1.4), 3.2)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in grid[num_panels:]:
        ax.remove()
    return figure, list(grid[:num_panels]), type_size(each)


def set_height(figure: PaperFigure, height: float | None, *, below: float) -> None:
    """Give a figure the height asked for, or room for a legend of `below` inches under its panels."""
    figure.set_figheight(figure.get_figheight() + below if height is None else check_positive(height, "height"))


def square_panels(figure: PaperFigure, axes: list[Axes]) -> None:
    """Make a figure as high as it takes for its panels to be square, with all their words in it."""
    rows = axes[0].get_gridspec().nrows
    for _ in range(2):  # a legend or a label may move a little the first time
        figure.get_layout_engine().execute(figure)
        missing = max(box.width - box.height for box in (ax.get_window_extent() for ax in axes)) / figure.dpi
        figure.set_figheight(figure.get_figheight() + rows * missing)


def panel_grid(num_panels: int, columns: int | None, inches: float) -> tuple[int, int]:
    """Return rows and columns of panels: as many columns as asked for, or as fit with rows as equal as can be.

    Examples
    --------
    >>> panel_grid(8, None, TEXT), panel_grid(3, None, COLUMN), panel_grid(2, 4, TEXT)
    ((2, 4), (2, 2), (1, 2))
    """
    if columns is None:
        columns = math.ceil(num_panels / math.ceil(num_panels / max(1, int(inches / _PANEL))))
    columns = min(columns, num_panels)
    return math.ceil(num_panels / columns), columns


def name_once(axes: list[Axes]) -> None:
    """Leave out the name of an x axis above another of that name, and that of a y axis beside it."""
    places = {(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start): ax for ax in axes}
    x, y = ({place: ax_label(ax) for place, ax in places.items()} for ax_label in (Axes.get_xlabel, Axes.get_ylabel))
    for (row, column), ax in places.items():
        if x.get((row + 1, column)) == x[row, column]:
            ax.set_xlabel("")
        if y.get((row, column - 1)) == y[row, column]:
            ax.set_ylabel("")


def type_size(inches: float) -> float:
    """Return the size of type in points for a panel so wide, no larger than the user's own."""
    return min(max(4.5 + 1.4 * inches, 6.5), matplotlib.rcParams["font.size"])
