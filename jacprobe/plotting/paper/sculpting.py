"""Error against sparsity of networks reduced to the size of a reference, as in the paper's Fig. 3."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jacprobe.errors import ArgumentError
from jacprobe.plotting.paper.frames import round_limits, thick_frame, value_axis
from jacprobe.plotting.paper.grids import panel_figure, set_height
from jacprobe.plotting.paper.hues import Mark, marks_of
from jacprobe.plotting.paper.legends import kind_handles, legend_below
from jacprobe.plotting.paper.tables import check_errors, check_finite, check_table, is_empty, number_column

REFERENCE = ("Reference", "Base")


def plot_paper_sculpting(
    measured: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    palette: Mapping[str, object] | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Figure:
    """Return a figure of error against sparsity, measured filled and published hollow, with a line at the reference.

    Parameters
    ----------
    measured
        Columns group, sparsity and error, both in %, a row per network; se, if there is one, is the standard error. The
        paper's groups are "Reference" or "Base", "Equivalent 1", "Equivalent 2" and "Equivalent 3". A network whose
        error is NaN or infinite is not drawn.
    published
        The same without se, or None.
    palette
        Colours by group, instead of the paper's.
    width, height
        Of the figure, in inches. A column of a paper is 3.3 wide.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; its PDF files hold TrueType fonts.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        A table is no DataFrame or lacks a column, `measured` is empty, a sparsity lies outside [0, 100], an se is
        negative; a colour, `width` or `height` is out of its domain.

    References
    ----------
    Lee et al. 2020, Fig. 3 and Table 6.

    Examples
    --------
    >>> networks = pd.DataFrame({"group": ["Reference", "Equivalent 1"], "sparsity": [0, 74.8],
    ...                          "error": [8.046, 7.618]})
    >>> plot_paper_sculpting(networks).axes[0].get_xlabel()
    'sparsity, %'
    """
    ours = _networks(measured, "measured")
    theirs = ours[:0] if is_empty(published) else _networks(published, "published")
    marks = marks_of([*ours["group"], *theirs["group"]], palette)
    figure, (ax,), font = panel_figure(1, columns=None, width=width, aspect=0.72)
    _draw_networks(ax, ours, marks, font, filled=True)
    _draw_networks(ax, theirs, marks, font, filled=False)
    thick_frame(ax, font=font)
    round_limits(ax, 0, 100, most=5)
    ax.margins(y=0.1)
    value_axis(ax, label="error, %", font=font)
    ax.set_xlabel("sparsity, %", fontsize=font, labelpad=0.3 * font)
    handles = {name: Line2D([], [], **_face(mark, font, filled=True)) for name, mark in marks.items()}
    kinds = kind_handles(published=len(theirs) > 0, band=bool(ours["se"].notna().any()), font=font, line=False)
    set_height(figure, height, below=legend_below(figure, handles, kinds, font=font))
    return figure


def _networks(frame: object, name: str) -> pd.DataFrame:
    """Return group, sparsity, error and se of `frame`, checked; an infinite error becomes NaN."""
    check_table(frame, ["group", "sparsity", "error"], name)
    table = frame[["group"]].astype(str)
    for column in ("sparsity", "error", "se"):
        table[column] = number_column(frame, column, name) if column in frame else np.nan
    check_finite(table, "sparsity", name)
    check_errors(table, name)
    wrong = table["sparsity"][(table["sparsity"] < 0) | (table["sparsity"] > 100)]
    if len(wrong):
        raise ArgumentError(f"`{name}` must hold sparsities in [0, 100]; got {wrong.iloc[0]:g}. Write 90 for "
                            "90 %.")
    return table.replace([np.inf, -np.inf], np.nan)


def _draw_networks(ax: Axes, table: pd.DataFrame, marks: Mapping[str, Mark], font: float, *, filled: bool) -> None:
    for name, part in table.groupby("group", sort=False):
        mark, known = marks[name], part["se"].notna() & part["error"].notna()
        label = name if filled else f"_published {name}"
        if name in REFERENCE and part["error"].notna().any():
            ax.axhline(part["error"].mean(), color=mark.color, linewidth=font / 11, alpha=0.6, zorder=1.5,
                       linestyle="-" if filled else (0, (3.2, 1.6)), label=f"_line of {label}")
        if filled and known.any():
            ax.errorbar(part["sparsity"][known], part["error"][known], part["se"][known], fmt="none", zorder=2.5,
                        ecolor=mark.color, elinewidth=font / 9, capsize=font / 4, label=f"_error of {name}")
        ax.plot(part["sparsity"], part["error"], **_face(mark, font, filled=filled), zorder=3, label=label)


def _face(mark: Mark, font: float, *, filled: bool) -> dict[str, object]:
    """Return how the marker of a network looks."""
    return {"color": mark.color, "linestyle": "none", "marker": mark.marker if filled else mark.hollow,
            "markersize": font / (1.5 if filled else 1.2), "markeredgewidth": 0.0 if filled else 0.13 * font,
            **({} if filled else {"markerfacecolor": "none"})}
