"""Two statistics of layers or models against each other, with their rank correlation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jacprobe.errors import ArgumentError
from jacprobe.plotting.contexts import figure_width
from jacprobe.plotting.hues import MARKERS, colors_of, estimate_text, finished, legend_text
from jacprobe.plotting.sparsitydata import check_columns, check_numbers
from jacprobe.plotting.statisticdata import (
    LINEAR,
    STATISTICS,
    check_statistic,
    kind_of,
    named_sets,
    rounding_of,
    statistic_of,
    summary_table,
)
from jacprobe.plotting.style import INK, QUIET, SelfShowingFigure, Sizes, axes_of, check_positive, elide, plain_number
from jacprobe.results import Spectrum, SpectrumSet

Statistics = pd.DataFrame | SpectrumSet | Mapping[str, SpectrumSet]
_UNSURE = ("estimated", "bounded", "at least")  # what is under the floor stands for 0
_LABELS = {"exact", "bounded", "estimated", "none"}  # of a SpectrumSet; other words mean something else
_MOST_NAMED = 12  # points that have their names beside them


def correlation_data(data: Statistics, *, x: str = "mean", y: str = "cond", hue: str | None = None,
                     kind: str | None = None) -> pd.DataFrame:
    """Return the points that ``draw_correlation`` and ``plot_correlation`` draw: one row per layer or model.

    Parameters
    ----------
    data
        One set or several by name, whose segments are the points; or a DataFrame with a row per point.
    x, y
        Numbers of ``SpectrumSet.summary``; in a DataFrame any columns of numbers. Infinite ones are allowed.
    hue
        In a DataFrame, the column that says to which group a row belongs.
    kind
        Of the segments; by default layers, or what all sets have.

    Returns
    -------
    DataFrame
        Columns: set, name, x, y (0 where a segment's is rounding alone, up to the floor), x_rank, y_rank (1 = smallest
        of all; ties share the mean of their ranks), exact (whether both are; in a DataFrame by its column `label`, if
        that has the labels of a SpectrumSet), label. A segment of which one of both is not known is left out.

    Raises
    ------
    DtypeError, ArgumentError, UnknownNameError, NonFiniteError
        `data` is none of these, empty or holds NaN; there is no such statistic, column or kind.

    Examples
    --------
    >>> frame = pd.DataFrame({"cond": [1.0, 9.0, 4.0], "error": [2.5, 9.0, 3.1]}, index=["a", "b", "c"])
    >>> points = correlation_data(frame, x="cond", y="error")
    >>> points["name"].tolist(), points["x_rank"].tolist(), rank_correlation(points["x"], points["y"])
    (['a', 'b', 'c'], [1.0, 3.0, 2.0], 1.0)
    """
    points = _points(data, x, y, hue, kind)
    return points.assign(x_rank=points["x"].rank(), y_rank=points["y"].rank())


def _points(data: Statistics, x: str, y: str, hue: str | None, kind: str | None) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        check_columns(data, {"x": x, "y": y} | ({} if hue is None else {"hue": hue}), "data")
        for column in (x, y):
            check_numbers(data, column, "data", infinite=True)
        named = next((data[column] for column in ("segment", "name", "model") if column in data), data.index)
        groups = [""] * len(data) if hue is None else data[hue].astype(str).tolist()
        labels = data["label"].astype(str) if "label" in data and data["label"].isin(_LABELS).all() else \
            pd.Series("exact", data.index)
        return pd.DataFrame({"set": groups, "name": list(map(str, named)), "x": data[x].to_numpy(dtype=float),
                             "y": data[y].to_numpy(dtype=float),
                             "exact": (labels == "exact").tolist(), "label": labels.tolist()})
    named = named_sets(data, "data")
    check_statistic(x, "x")
    check_statistic(y, "y")
    summary = summary_table(named, kind_of(named, kind, "data"))
    one, other = statistic_of(summary, x), statistic_of(summary, y)
    shown = {axis: known["value"].mask(known["value"].abs() <= rounding_of(summary, name), 0.0)
             for axis, known, name in (("x", one, x), ("y", other, y))}
    points = pd.DataFrame({"set": summary["set"], "name": summary["segment"], **shown,
                           "exact": ~(one["state"].isin(_UNSURE) | other["state"].isin(_UNSURE)),
                           "label": summary["label"]})
    return points.dropna(subset=["x", "y"]).reset_index(drop=True)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's rank correlation, in [-1, 1]; NaN for fewer than three points or where one is constant.

    References
    ----------
    Spearman 1904, The proof and measurement of association between two things.

    Examples
    --------
    >>> rank_correlation([1, 2, 3, 4], [1, 4, 9, float("inf")]), rank_correlation([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    ranks = [pd.Series(values, dtype=float).rank().to_numpy() for values in (x, y)]
    if len(ranks[0]) < 3 or not all(np.ptp(rank) > 0 for rank in ranks):
        return math.nan
    one, other = (rank - rank.mean() for rank in ranks)
    return float(np.clip(one @ other / math.sqrt((one @ one) * (other @ other)), -1, 1))


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
    logs = {axis: _is_log(points[axis], name, log) for axis, name in (("x", x), ("y", y))}
    ax = axes_of(ax)
    sizes = Sizes.of(ax, 12, 1)
    limits = {axis: _limits(points[axis], log=logs[axis]) for axis in "xy"}
    for axis, name in (("x", x), ("y", y)):
        _finish_axis(ax, axis, limits[axis], STATISTICS.get(name, name), log=logs[axis], font=sizes.font)
    for index, group in enumerate(groups):
        _draw_group(ax, points[points["set"] == group], index, colors[index], limits, logs, scatter)
    unsure = points[~points["exact"]]["label"]
    for label in unsure.unique():
        text = {"estimated": estimate_text(_spectra(data, kind)), "exact": "lower bound"}.get(label, label)
        ax.scatter([], [], facecolor="white", edgecolor=QUIET, label=text)
    if len(points) <= _MOST_NAMED if names is None else names:
        for row in points.itertuples():
            place = [_inside(getattr(row, axis), limits[axis], log=logs[axis]) for axis in "xy"]
            ax.annotate(elide(row.name), place, (4, 3), textcoords="offset points", fontsize=max(sizes.font - 2, 5),
                        color=INK, parse_math=False)
    found = rank_correlation(points["x"], points["y"])
    rho = "not defined" if math.isnan(found) else f"{found:.2f}".replace("-", "−")
    ax.set_title(f"Spearman ρ {'' if math.isnan(found) else '= '}{rho}, n = {len(points)}", fontsize=sizes.font)
    return ax


def _spectra(data: Statistics, kind: str | None) -> list[Spectrum]:
    if isinstance(data, pd.DataFrame):
        return []
    named = named_sets(data, "data")
    chosen = kind_of(named, kind, "data")
    return [spectrum for result in named.values() for spectrum in result.select(chosen)]


def _is_log(values: pd.Series, name: str, log: bool | None) -> bool:
    if log and (values < 0).any():
        raise ArgumentError(f"`log` must be False where values are negative; got {values.min():g} in {name!r}."
                            " Leave it out.")
    if log is not None:
        return bool(log)
    known = values[np.isfinite(values) & (values > 0)]
    return bool(name not in LINEAR and (values >= 0).all() and len(known) and known.max() > 30 * known.min())


def _limits(values: pd.Series, *, log: bool) -> tuple[float, float]:
    known = values[np.isfinite(values) & ((values > 0) | (not log))]
    low, high = (known.min(), known.max()) if len(known) else (1.0, 10.0)
    if log:
        pad = max((high / low) ** 0.12, 1.3)
        return low / pad, high * pad
    pad = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
    return low - pad, high + pad


def _inside(value: float, limits: tuple[float, float], *, log: bool) -> float:
    """Return where a value stands: just inside the edge that it lies beyond."""
    low, high = limits
    at = (lambda share: low * (high / low) ** share) if log else (lambda share: low + (high - low) * share)
    return float(min(max(value, at(0.025)), at(0.975)))


def _draw_group(ax: Axes, points: pd.DataFrame, index: int, color: object, limits: Mapping[str, tuple[float, float]],
                logs: Mapping[str, bool], scatter: Mapping[str, object]) -> None:
    label = legend_text(points["set"].iloc[0]) or "_points"
    place = {axis: points[axis].map(lambda v, a=axis: _inside(v, limits[a], log=logs[a])) for axis in "xy"}
    beyond = (place["x"] != points["x"]) | (place["y"] != points["y"])
    exact = points["exact"]
    for chosen, look, name in ((exact, {"facecolor": color, "edgecolor": "white"}, label),
                               (~exact, {"facecolor": "white", "edgecolor": color}, "_doubtful")):
        look |= {"linewidths": 0.7, "zorder": 3}
        inside = chosen & ~beyond
        ax.scatter(place["x"][inside], place["y"][inside],
                   **{"s": 22, "marker": MARKERS[index], "label": name, **look, **scatter})
        for row in points[chosen & beyond].itertuples():
            ax.scatter([place["x"][row.Index]], [place["y"][row.Index]], s=26, marker=_arrow(row, limits),
                       label="_beyond", **look)
    if beyond.any() and "beyond the axis" not in ax.get_legend_handles_labels()[1]:
        ax.scatter([], [], s=26, marker="^", color=QUIET, label="beyond the axis")


def _arrow(row: tuple, limits: Mapping[str, tuple[float, float]]) -> str:
    """Return the triangle that points to where a point lies."""
    if limits["y"][0] <= row.y <= limits["y"][1]:
        return ">" if row.x > limits["x"][1] else "<"
    return "^" if row.y > limits["y"][1] else "v"


def _finish_axis(ax: Axes, which: str, limits: tuple[float, float], name: str, *, log: bool, font: float) -> None:
    axis = getattr(ax, f"{which}axis")
    ax.set(**{f"{which}scale": "log" if log else "linear", f"{which}lim": limits})
    axis.set_major_locator(LogLocator(numticks=6) if log and limits[1] > 30 * limits[0] else MaxNLocator(5))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(round(value, 10) or 0.0) if not log
                                           else plain_number(value)))
    axis.set_tick_params(labelsize=font)
    axis.set_label_text(name, fontsize=font)
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


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
    wanted = [y] if isinstance(y, str) else list(y)
    if not wanted:
        raise ArgumentError("`y` must name at least one; got none. Name 'cond'.")
    groups = dict.fromkeys(correlation_data(data, x=x, y=wanted[0], hue=hue, kind=kind)["set"])
    width = figure_width(width, min(4.4 * len(wanted), 9.0))
    columns = max(1, min(len(wanted), int(width / 2.6)))
    lines = -(-len(wanted) // columns)
    height = check_positive(lines * min(max(0.8 * width / columns, 2.2), 4.2) + 0.4 if height is None else height,
                            "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for ax, name in zip(axes, wanted, strict=False):
        draw_correlation(data, x=x, y=name, hue=hue, kind=kind, ax=ax, log=log, names=names)
    for ax in axes[len(wanted):]:
        ax.remove()
    font = axes[0].yaxis.label.get_fontsize()
    return finished(figure, axes[:len(wanted)], font=font, title=title, first=groups)
