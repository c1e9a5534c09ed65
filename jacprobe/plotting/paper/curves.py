"""Curves in panels, as in the paper's Figs. 2 and 4 to 8: measured solid, published dashed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

import pandas as pd
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.plotting.artists.words import legend_text
from jacprobe.plotting.paper.grids import name_once, panel_figure, set_height
from jacprobe.plotting.paper.hues import marks_of
from jacprobe.plotting.paper.legends import curve_handle, kind_handles, legend_below
from jacprobe.plotting.paper.panels import draw_panel, finish_panel
from jacprobe.plotting.paper.tables import curve_table, is_empty

Words = str | Mapping[str, str] | None


def plot_paper_curves(
    measured: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    panels: Sequence[str] | None = None,
    titles: Mapping[str, str] | None = None,
    xlabel: Words = None,
    ylabels: Words = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
    palette: Mapping[str, object] | None = None,
    columns: int | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Figure:
    """Return a figure of curves in the paper's style, the published ones dashed beside the measured ones.

    Parameters
    ----------
    measured
        Columns panel, curve, x and value, a row per point; se, if there is one, is the standard error, drawn as a band.
        Values and standard errors that are NaN or infinite leave a gap.
    published
        The same without se, or None. Panels and curves may be missing from either.
    panels
        Which panels to draw, in order; by default all, as they come.
    titles, ylabels, xlabel
        Words by panel, for `xlabel` and `ylabels` also one text for all; mathtext is set. By default the names of the
        panels are their titles.
    limits
        Ends of the y axis by panel, for curves that leave it.
    palette
        Colours by curve, instead of those of the paper's Fig. 2.
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
    DtypeError, ArgumentError, UnknownNameError, NonFiniteError
        A table is no DataFrame or lacks a column, `measured` is empty, an x is no finite number, a point stands there
        twice, an se is negative; a name of a panel is unknown, a limit, colour, size or `columns` out of its domain.

    References
    ----------
    Lee et al. 2020, Figs. 2 and 4 to 8.

    Examples
    --------
    >>> points = pd.DataFrame({"panel": "tanh", "curve": "LDI-CS", "x": [0, 90], "value": [0.344, 0.0287]})
    >>> figure = plot_paper_curves(points, points, xlabel="sparsity, %", ylabels="mean JSV")
    >>> [line.get_linestyle() for line in figure.axes[0].lines]
    ['-', '--']
    """
    ours = curve_table(measured, "measured")
    theirs = ours[:0] if is_empty(published) else curve_table(published, "published")
    both = pd.concat([ours, theirs]) if len(theirs) else ours
    names = _panel_names(panels, list(dict.fromkeys([*ours["panel"], *theirs["panel"]])))
    titles = {name: legend_text(name) for name in names} | (_words(titles, names, "titles") if titles else {})
    ylabels, xlabels = _words(ylabels, names, "ylabels"), _words(xlabel, names, "xlabel")
    ends = _limits(limits, names)
    ours, theirs = ours[ours["panel"].isin(names)], theirs[theirs["panel"].isin(names)]
    marks = marks_of([*ours["curve"], *theirs["curve"]], palette)
    figure, axes, font = panel_figure(len(names), columns=columns, width=width, aspect=0.8)
    for ax, name in zip(axes, names, strict=True):
        here = both[both["panel"] == name]
        draw_panel(ax, ours[ours["panel"] == name], theirs[theirs["panel"] == name], marks, font)
        finish_panel(ax, here, font=font, ylim=ends.get(name), title=titles[name], ylabel=ylabels.get(name, ""),
                     xlabel=xlabels.get(name, ""))
    name_once(axes)
    kinds = kind_handles(published=len(theirs) > 0, band=bool(ours["se"].notna().any()), font=font)
    below = legend_below(figure, {n: curve_handle(mark, font=font) for n, mark in marks.items()}, kinds, font=font)
    set_height(figure, height, below=below)
    return figure


def _panel_names(panels: Sequence[str] | None, found: list[str]) -> list[str]:
    """Return the panels to draw, checked."""
    if panels is None:
        return found
    names = [panels] if isinstance(panels, str) else list(dict.fromkeys(panels))
    if not names:
        raise ArgumentError("`panels` must name at least one panel; got none. Leave it out for all.")
    _check_names(names, found, "panels")
    return names


def _check_names(names: Iterable[str], known: list[str], argument: str) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(argument, name, known)


def _words(words: Words, names: list[str], argument: str) -> dict[str, str]:
    """Return a text by panel from one for all or from a mapping."""
    if words is None or isinstance(words, str):
        return dict.fromkeys(names, words or "")
    _check_names(words, names, argument)
    return dict(words)


def _limits(limits: Mapping[str, tuple[float, float]] | None, names: list[str]) -> dict[str, tuple[float, float]]:
    """Return the ends of y axes by panel, checked."""
    _check_names(limits or (), names, "limits")
    for ends in (limits or {}).values():
        two = isinstance(ends, Sequence) and len(ends) == 2 and all(isinstance(end, Real) for end in ends)
        if not two or not -math.inf < ends[0] < ends[1] < math.inf:
            raise ArgumentError(f"`limits` must hold a lower and a higher finite number by panel; got {ends!r}. "
                                "Write {'loss': (0, 3)}.")
    return dict(limits or {})
