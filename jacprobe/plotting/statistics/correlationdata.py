"""Two statistics of layers or models as points, and their rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from jacprobe.plotting.arguments import ManySets, check_sets
from jacprobe.plotting.statistics.statistic import check_statistic, kind_of, rounding_of, statistic_of, summary_table
from jacprobe.plotting.statistics.tables import check_columns, check_numbers
from jacprobe.results import Spectrum

Statistics = pd.DataFrame | ManySets
_UNSURE = ("estimated", "bounded", "at least")  # what is under the floor stands for 0
_LABELS = {"exact", "bounded", "estimated", "none"}  # of a SpectrumSet; other words mean something else
_SUMMARY = ("zeros", "under_floor", "floor", "relative_floor", "mean", "max")  # columns that tell what is resolved


def correlation_data(data: Statistics, *, x: str = "mean", y: str = "cond", hue: str | None = None,
                     kind: str | None = None) -> pd.DataFrame:
    """Return the points that ``draw_correlation`` and ``plot_correlation`` draw: one row per layer or model.

    Parameters
    ----------
    data
        One set or several by name, whose segments are the points; or a DataFrame with a row per point.
    x, y
        Numbers of ``SpectrumSet.summary``; in a DataFrame any columns of numbers. Infinite ones are allowed. The rows
        of a summary keep their floors: what is rounding alone is 0 there too.
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
        groups = "" if hue is None else data[hue].astype(str).to_numpy()
        summary = _as_summary(data, x, y).assign(set=groups, segment=list(map(str, named)))
    else:
        named = check_sets(data, "data")
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


def _as_summary(data: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return the columns of a table that a summary has; of a table that is none the numbers alone, as exact."""
    is_summary = "label" in data and data["label"].isin(_LABELS).all()
    wanted = list(dict.fromkeys([x, y, *(_SUMMARY if is_summary else ())]))
    table = data.reindex(columns=wanted).reset_index(drop=True)
    return table.reindex(columns=list(dict.fromkeys([*wanted, *_SUMMARY]))).assign(
        label=data["label"].to_numpy() if is_summary else "exact")


def spectra_of(data: Statistics, kind: str | None) -> list[Spectrum]:
    """Return the spectra whose statistics are the points, for the facts of their estimates."""
    if isinstance(data, pd.DataFrame):
        return []
    named = check_sets(data, "data")
    chosen = kind_of(named, kind, "data")
    return [spectrum for result in named.values() for spectrum in result.select(chosen)]


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
