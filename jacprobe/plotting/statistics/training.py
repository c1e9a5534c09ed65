"""Curves over the steps of training: losses, errors, and statistics of singular values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jacprobe.plotting.arguments import check_log, check_wanted
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width, grid_axes
from jacprobe.plotting.artists.hues import colors_of
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import padded
from jacprobe.plotting.statistics.curves import draw_curves, finish_values
from jacprobe.plotting.statistics.statistic import STATISTICS
from jacprobe.plotting.statistics.tables import averaged, check_columns, check_numbers, in_order


def training_data(frame: pd.DataFrame, *, x: str = "step", y: str = "loss", hue: str | None = None) -> pd.DataFrame:
    """Return the numbers that ``draw_training`` and ``plot_training`` draw: one row per curve and step.

    Parameters
    ----------
    frame
        Tidy: a row per run and step.
    x, y
        Columns of the step and of the number to draw.
    hue
        Column that says to which curve a row belongs; one curve if None.

    Returns
    -------
    DataFrame
        Columns: curve, x, value (the mean of the rows of this curve and step), band_low and band_high (one sample
        standard deviation away; NaN for one row), num_runs.

    Raises
    ------
    DtypeError, ArgumentError, UnknownNameError, NonFiniteError
        `frame` is no DataFrame or empty, lacks a column, or holds no numbers, NaN or infinities there.

    Examples
    --------
    >>> frame = pd.DataFrame({"step": [0, 0, 1, 1], "loss": [2.0, 3.0, 1.0, 1.0]})
    >>> training_data(frame)[["x", "value", "num_runs"]]
         x  value  num_runs
    0  0.0    2.5         2
    1  1.0    1.0         2
    """
    return _table(frame, x, y, hue)[["curve", "x", "value", "band_low", "band_high", "num_runs"]]


def _table(frame: pd.DataFrame, x: str, y: str, hue: str | None) -> pd.DataFrame:
    check_columns(frame, {"x": x, "y": y} | ({} if hue is None else {"hue": hue}), "frame")
    for column in (x, y):
        check_numbers(frame, column, "frame")
    curve = pd.Series("", frame.index) if hue is None else frame[hue].astype(str)
    table = pd.DataFrame({"curve": curve, "x": frame[x].astype(float), "value": frame[y].astype(float)})
    if not table.duplicated(["curve", "x"]).any():  # long runs, quickly
        ends = dict.fromkeys(["low", "high", "band_low", "band_high"], np.nan)
        return in_order(table, "curve", "x").assign(**ends, num_runs=1, state="exact")
    return averaged(table.assign(low=np.nan, high=np.nan, state="exact"), ["curve", "x"])


def draw_training(
    frame: pd.DataFrame,
    *,
    x: str = "step",
    y: str = "loss",
    hue: str | None = None,
    ax: Axes | None = None,
    log: bool = False,
    palette: Sequence[object] | None = None,
    **line: object,
) -> Axes:
    """Draw a number against the steps of training, a line per curve, and return the Axes.

    Of repeated runs the mean is drawn, with a band of one standard deviation. On a logarithmic axis triangles at the
    foot are zeros.

    Parameters
    ----------
    frame, x, y, hue
        As ``training_data``.
    ax
        Where to draw; a new figure without pyplot if None.
    log
        Whether the axis of `y` is logarithmic.
    palette
        A colour per curve.
    **line
        Forwarded to ``Axes.plot``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``training_data``; `ax` is no Axes, `palette` no colours, or `log` is True with negative numbers.

    References
    ----------
    Lee et al. 2020, Fig. 2 (b).

    Examples
    --------
    >>> ax = draw_training(pd.DataFrame({"step": [0, 1], "loss": [2.0, 1.0]}))
    >>> ax.lines[-1].get_xydata().tolist(), ax.get_xlabel(), ax.get_ylabel()
    ([[0.0, 2.0], [1.0, 1.0]], 'step', 'loss')
    """
    table = _table(frame, x, y, hue)
    colors = colors_of(table["curve"].nunique(), palette, "frame")
    log = check_log(log, table["value"], natural=False)
    ax = axes_of(ax)
    sizes = Sizes.of(ax, max(table["x"].nunique(), 8), 1)
    ax.set_yscale("log" if log else "linear")
    draw_curves(ax, table, colors, sizes, log=log, line=line)
    finish_values(ax, table, log=log, font=sizes.font, label=STATISTICS.get(y, y))
    low, high = table["x"].min(), table["x"].max()
    ax.set_xlim(padded(low, high, 0.03, log=False) if low < high else (low - 0.5, high + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=bool((table["x"] % 1 == 0).all())))
    ax.tick_params(axis="x", labelsize=sizes.font)
    ax.set_xlabel(x, fontsize=sizes.font, parse_math=False)
    return ax


def plot_training(
    frame: pd.DataFrame,
    *,
    x: str = "step",
    y: str | Sequence[str] = "loss",
    hue: str | None = None,
    log: bool = False,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure of training curves, a panel per number below one another; ``draw_training`` says what is drawn.

    Parameters
    ----------
    frame, x, hue, log
        As ``draw_training``.
    y
        One column or several.
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
        As ``draw_training``; `y` is empty, or `width` or `height` not positive.
    """
    wanted = check_wanted(y, "y", "loss")
    tables = [training_data(frame, x=x, y=name, hue=hue) for name in wanted]
    width = figure_width(width, 5.0)
    each = min(max(0.6 * width, 1.8), 4.0) * (1 if len(wanted) == 1 else 0.75)
    axes = grid_axes(blank_figure(width, height, each * len(wanted) + 0.4), len(wanted), 1)
    for ax, name in zip(axes, wanted, strict=True):
        draw_training(frame, x=x, y=name, hue=hue, ax=ax, log=log)
        if ax is not axes[-1]:
            ax.set_xlabel("")
    return finished(axes, title=title, first=dict.fromkeys(tables[0]["curve"]))
