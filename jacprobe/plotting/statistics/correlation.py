"""Two statistics of layers or models against each other, with their rank correlation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.arguments import check_log, check_wanted
from jacprobe.plotting.artists.figures import axes_of, figure_width, tiled_axes
from jacprobe.plotting.artists.hues import INK, MARKERS, QUIET, colors_of
from jacprobe.plotting.artists.labels import estimate_text
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import type_size
from jacprobe.plotting.artists.ticks import padded, value_ticks
from jacprobe.plotting.artists.words import elide, legend_text
from jacprobe.plotting.statistics.correlationdata import Statistics, correlation_data, rank_correlation, spectra_of
from jacprobe.plotting.statistics.statistic import STATISTICS, spans_widely

_MOST_NAMED = 12  # points that have their names beside them
_EDGE = 0.025  # of an axis, from its end: where what lies beyond stands


class _Axis(NamedTuple):
    """One axis: its limits and scale."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: pd.Series, name: str, log: bool | None) -> _Axis:
        log = check_log(log, values, natural=spans_widely(values, name), where=f" in {name!r}")
        known = values[np.isfinite(values) & ((values > 0) | (not log))]
        low, high = (known.min(), known.max()) if len(known) else (1.0, 10.0)
        return cls(*padded(low, high, 0.12, log=log, least=1.3), log)

    def inside(self, values: pd.Series) -> pd.Series:
        """Return where values stand: just inside the edge that they lie beyond."""
        edges = padded(self.low, self.high, -_EDGE, log=self.log, least=0.0)
        return values.clip(*edges)


def draw_correlation(
    data: Statistics,
    *,
    x: str = "mean",
    y: str = "cond",
    hue: str | None = None,
    kind: str | None = None,
    ax: Axes | None = None,
    log: bool | None = None,
    names: bool | None = None,
    palette: Sequence[object] | None = None,
    **scatter: object,
) -> Axes:
    """Draw two statistics against each other, a point per layer or model, and return the Axes.

    Spearman's rank correlation of all points stands above the Axes. Hollow points are not exact. What is infinite, or
    on a logarithmic axis zero, as values under the floor are, stands as a triangle at the edge; it counts in the ranks.

    Parameters
    ----------
    data, x, y, hue, kind
        As ``correlation_data``.
    ax
        Where to draw; a new figure without pyplot if None.
    log
        Whether both axes are logarithmic; by default each where it has no negative value and a scale that spans a
        factor of 30.
    names
        Whether the points have their names beside them; by default where there are at most 12.
    palette
        A colour per set or group.
    **scatter
        Forwarded to ``Axes.scatter``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``correlation_data``; `ax` is no Axes, `palette` no colours, or `log` is True with negative values.

    Examples
    --------
    >>> frame = pd.DataFrame({"cond": [1.0, 9.0, 4.0], "error": [2.5, 9.0, 3.1]})
    >>> draw_correlation(frame, x="cond", y="error").get_title()
    'Spearman ρ = 1.00, n = 3'
    """
    points = correlation_data(data, x=x, y=y, hue=hue, kind=kind)
    groups = list(dict.fromkeys(points["set"]))
    colors = colors_of(len(groups), palette, "data")
    axes = {"x": _Axis.of(points["x"], x, log), "y": _Axis.of(points["y"], y, log)}
    ax = axes_of(ax)
    font = type_size(ax)
    for along, name in (("x", x), ("y", y)):
        _finish_axis(ax, along, axes[along], STATISTICS.get(name, name), font)
    places = pd.DataFrame({along: axes[along].inside(points[along]) for along in "xy"})
    for index, group in enumerate(groups):
        chosen = points["set"] == group
        _draw_group(ax, points[chosen], places[chosen], colors[index], MARKERS[index], scatter)
    if (places != points[["x", "y"]]).any(axis=None):
        ax.scatter([], [], s=26, marker="^", color=QUIET, label="beyond the axis")
    for label in points["label"][~points["exact"]].unique():
        text = {"estimated": estimate_text(spectra_of(data, kind)), "exact": "lower bound"}.get(label, label)
        ax.scatter([], [], facecolor="white", edgecolor=QUIET, label=text)
    if len(points) <= _MOST_NAMED if names is None else names:
        for name, place in zip(points["name"], places.itertuples(index=False), strict=True):
            ax.annotate(elide(name), place, (4, 3), textcoords="offset points", fontsize=max(font - 2, 5),
                        color=INK, parse_math=False)
    found = rank_correlation(points["x"], points["y"])
    rho = "ρ not defined" if math.isnan(found) else f"ρ = {found:.2f}".replace("-", "−")
    ax.set_title(f"Spearman {rho}, n = {len(points)}", fontsize=font)
    return ax


def _draw_group(ax: Axes, points: pd.DataFrame, places: pd.DataFrame, color: object, marker: str,
                scatter: Mapping[str, object]) -> None:
    """Draw the points of one group, filled where exact, and as triangles where they lie beyond an axis."""
    beyond = (places != points[["x", "y"]]).any(axis=1)
    label = legend_text(points["set"].iloc[0]) or "_points"
    for chosen, face, edge, name in ((points["exact"], color, "white", label),
                                     (~points["exact"], "white", color, "_doubtful")):
        look = {"facecolor": face, "edgecolor": edge, "linewidths": 0.7, "zorder": 3}
        inside = places[chosen & ~beyond]
        ax.scatter(inside["x"], inside["y"], **{"s": 22, "marker": marker, "label": name, **look, **scatter})
        for row in points[chosen & beyond].itertuples():
            place = places.loc[row.Index]
            ax.scatter([place["x"]], [place["y"]], s=26, marker=_arrow(row, place), label="_beyond", **look)


def _arrow(row: tuple, place: pd.Series) -> str:
    """Return the triangle that points from its place to where a point lies."""
    if row.y == place["y"]:
        return ">" if row.x > place["x"] else "<"
    return "^" if row.y > place["y"] else "v"


def _finish_axis(ax: Axes, along: str, axis: _Axis, name: str, font: float) -> None:
    ax.set(**{f"{along}scale": "log" if axis.log else "linear", f"{along}lim": (axis.low, axis.high)})
    value_ticks(ax, log=axis.log, font=font, along=along)
    getattr(ax, f"{along}axis").set_label_text(name, fontsize=font)


def plot_correlation(
    data: Statistics,
    *,
    x: str = "mean",
    y: str | Sequence[str] = "cond",
    hue: str | None = None,
    kind: str | None = None,
    log: bool | None = None,
    names: bool | None = None,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure of statistics against another one, a panel per `y`; ``draw_correlation`` says what is drawn.

    Parameters
    ----------
    data, x, hue, kind, log, names
        As ``draw_correlation``.
    y
        One statistic or column, or several.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide.
    title
        Text above the figure.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError
        As ``draw_correlation``; `y` is empty, or `width` or `height` not positive.
    """
    wanted = check_wanted(y, "y", "cond")
    groups = dict.fromkeys(correlation_data(data, x=x, y=wanted[0], hue=hue, kind=kind)["set"])
    width = figure_width(width, min(4.4 * len(wanted), 9.0))
    axes = tiled_axes(len(wanted), width=width, height=height, least=2.7, ratio=0.8)
    for ax, name in zip(axes, wanted, strict=True):
        draw_correlation(data, x=x, y=name, hue=hue, kind=kind, ax=ax, log=log, names=names)
    return finished(axes, title=title, first=groups)
