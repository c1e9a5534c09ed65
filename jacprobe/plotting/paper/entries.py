"""The numbers of a table as points, measured beside published, a panel per quantity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from jacprobe.plotting.artists.words import legend_text
from jacprobe.plotting.paper.frames import thick_frame, two_lines
from jacprobe.plotting.paper.grids import panel_figure, set_height
from jacprobe.plotting.paper.hues import CYCLE
from jacprobe.plotting.paper.legends import kind_handles, legend_below
from jacprobe.plotting.paper.tables import check_errors, check_table, number_column

_WIDE = 300.0  # a quantity that spans such a factor has a logarithmic axis
_EDGE = 0.97  # of the width of a panel, where what is infinite stands
_COLOR = CYCLE[0]


def plot_paper_entries(
    table: pd.DataFrame, *, columns: int | None = None, width: float | None = None, height: float | None = None
) -> Figure:
    """Return a figure of the numbers of a table: measured points with their standard errors, published ones hollow.

    Parameters
    ----------
    table
        Columns entry, measured and published, a row per number; error, if there is one, is the standard error. What
        stands in `entry` before ": " names the row of a panel, what stands behind it the panel. NaN is not drawn, what
        is infinite is a triangle at the edge. A quantity that spans a wide range has a logarithmic axis.
    columns
        Panels side by side; by default as many as fit.
    width, height
        Of the figure, in inches. A column of a paper is 3.3 wide, two are 6.85.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; its PDF files hold TrueType fonts.

    Raises
    ------
    DtypeError, ArgumentError
        `table` is no DataFrame, is empty, lacks a column, or holds no numbers or a negative error; `columns` or a size
        is not positive.

    References
    ----------
    Lee et al. 2020, Tables 1 to 6.

    Examples
    --------
    >>> table = pd.DataFrame({"entry": ["VS-L: error, %", "LDI: error, %"], "measured": [12.1, 11.4],
    ...                       "published": [11.96, 11.55]})
    >>> ax = plot_paper_entries(table).axes[0]
    >>> ax.get_title(), [tick.get_text() for tick in ax.get_yticklabels()]
    ('error, %', ['VS-L', 'LDI'])
    """
    numbers = _numbers(table)
    groups = [group for _, group in numbers.groupby("quantity", sort=False)]
    figure, axes, font = panel_figure(len(groups), columns=columns, width=width, aspect=0.8)
    each = figure.get_figwidth() / axes[0].get_gridspec().ncols
    for ax, group in zip(axes, groups, strict=True):
        _draw_group(ax, group.reset_index(drop=True), font)
        title = two_lines(group["quantity"].iloc[0], room=0.75 * 72 * each, font=font)
        ax.set_title(legend_text(title) if title else "", fontsize=1.05 * font, pad=0.5 * font)
    _name_rows_once(axes, groups)
    kinds = kind_handles(published=bool(numbers["published"].notna().any()), band=bool(numbers["se"].notna().any()),
                         font=font, line=False)
    if np.isinf(numbers[["measured", "published"]]).any(axis=None):
        kinds["infinite"] = Line2D([], [], linestyle="none", color=_COLOR, marker=">", markersize=font / 2)
    lines = axes[0].get_gridspec().nrows
    figure.set_figheight(lines * (1.7 * max(map(len, groups)) + 6) * font / 72)
    set_height(figure, height, below=legend_below(figure, {}, kinds, font=font))
    return figure


def _numbers(table: object) -> pd.DataFrame:
    """Return quantity, row, measured, published and se of a table of entries, checked."""
    check_table(table, ["entry", "measured", "published"], "table")
    parts = table["entry"].astype(str).str.rpartition(": ")
    whole = parts[1] == ""
    numbers = pd.DataFrame({"quantity": parts[2].mask(whole, ""), "row": parts[0].mask(whole, parts[2]),
                            "measured": number_column(table, "measured", "table"),
                            "published": number_column(table, "published", "table"),
                            "se": number_column(table, "error", "table") if "error" in table else np.nan})
    check_errors(numbers, "table", column="error")
    return numbers


def _draw_group(ax: Axes, group: pd.DataFrame, font: float) -> None:
    """Draw the rows of one quantity from top to bottom."""
    rows, finite = np.arange(len(group)), group[["measured", "published"]].replace([np.inf, -np.inf], np.nan)
    low, high = finite.min().min(), finite.max().max()
    log = bool(0 < low < high / _WIDE)
    ax.set_xscale("log" if log else "linear")
    thick_frame(ax, font=font)
    size = {"linestyle": "none", "color": _COLOR}
    bars = group["se"].notna() & finite["measured"].notna()
    if bars.any():
        ax.errorbar(group["measured"][bars], rows[bars], xerr=group["se"][bars], fmt="none", ecolor=_COLOR, zorder=2.5,
                    elinewidth=font / 9, capsize=font / 4, label="_error")
    ax.plot(finite["measured"], rows, marker="o", markersize=font / 2, markeredgewidth=0, zorder=3, label="measured",
            **size)
    ax.plot(finite["published"], rows, marker="o", markersize=font / 1.25, markeredgewidth=0.12 * font, zorder=3.2,
            markerfacecolor="none", label="_published", **size)
    for column, face, large in (("measured", _COLOR, 2.0), ("published", "none", 1.25)):
        above = rows[np.isinf(group[column])]
        ax.plot([_EDGE] * len(above), above, transform=ax.get_yaxis_transform(), marker=">", markersize=font / large,
                markerfacecolor=face, label=f"_infinite {column}", **size)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(rows, group["row"].tolist(), parse_math=False)
    ax.margins(x=0.12)
    if log:
        ax.xaxis.set_major_locator(LogLocator(numticks=4))
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _name_rows_once(axes: list[Axes], groups: list[pd.DataFrame]) -> None:
    """Leave out the names of rows beside a panel that has the same ones."""
    for ax, left, group, before in zip(axes[1:], axes, groups[1:], groups, strict=False):
        same = group["row"].tolist() == before["row"].tolist()
        if same and left.get_subplotspec().rowspan.start == ax.get_subplotspec().rowspan.start:
            ax.tick_params(labelleft=False)
