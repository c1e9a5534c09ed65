"""Statistics of the singular values against sparsity, as in the paper's Fig. 2 (a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jacprobe.plotting.arguments import check_log, check_wanted
from jacprobe.plotting.artists.figures import axes_of, figure_width, tiled_axes
from jacprobe.plotting.artists.hues import QUIET, colors_of
from jacprobe.plotting.artists.labels import estimate_text
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import padded
from jacprobe.plotting.artists.words import plain_number
from jacprobe.plotting.statistics.curves import draw_curves, finish_values
from jacprobe.plotting.statistics.sparsitydata import SparsityResults, sparsity_table, spectrum_of
from jacprobe.plotting.statistics.statistic import STATISTICS, VALUES, check_statistic, spans_widely
from jacprobe.results import Spectrum, SpectrumSet


def sparsity_data(data: SparsityResults, *, statistic: str = "mean", segment: str | None = None) -> pd.DataFrame:
    """Return the numbers that ``draw_sparsity`` and ``plot_sparsity`` draw: one row per method and sparsity.

    Parameters
    ----------
    data
        ``{sparsity: SpectrumSet}``, the same by method, ``{"snip": {0.0: ..., 0.9: ...}, ...}``, in both of them a
        list of sets for repeated runs; or a DataFrame with a row per run and the columns sparsity, the statistic, and
        where there are any method, segment (only one) and label.
    statistic
        A number of ``SpectrumSet.summary``; in a DataFrame any column of numbers.
    segment
        Whose statistic; by default end to end. A DataFrame must be about one.

    Returns
    -------
    DataFrame
        Columns: method, sparsity, segment, value (the mean over runs), low, high and state as in ``depth_data``,
        band_low and band_high (one sample standard deviation of the runs away; NaN for one run), num_runs, label,
        reason. Where the value of only some runs is known, it is the mean of those and the state "bounded".

    Raises
    ------
    DtypeError, ArgumentError, UnknownNameError, NonFiniteError
        `data` is none of these, empty, holds NaN or a sparsity outside [0, 1]; there is no such statistic or segment.

    Examples
    --------
    >>> runs = pd.DataFrame({"sparsity": [0.0, 0.9, 0.9], "mean": [1.0, 0.2, 0.4]})
    >>> sparsity_data(runs)[["sparsity", "value", "num_runs"]].round(3)
       sparsity  value  num_runs
    0       0.0    1.0         1
    1       0.9    0.3         2
    """
    if not isinstance(data, pd.DataFrame):
        check_statistic(statistic)
    return sparsity_table(data, statistic=statistic, segment=segment)


def draw_sparsity(
    data: SparsityResults,
    *,
    statistic: str = "mean",
    segment: str | None = None,
    ax: Axes | None = None,
    log: bool | None = None,
    palette: Sequence[object] | None = None,
    **line: object,
) -> Axes:
    """Draw one statistic against sparsity, a line per method, and return the Axes.

    Of repeated runs the mean is drawn, with a band of one standard deviation. Marks are those of ``draw_depth``.

    Parameters
    ----------
    data, statistic, segment
        As ``sparsity_data``.
    ax
        Where to draw; a new figure without pyplot if None.
    log
        Whether the axis of the statistic is logarithmic; by default where its positive values span a factor of 30.
    palette
        A colour per method.
    **line
        Forwarded to ``Axes.plot``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``sparsity_data``; `ax` is no Axes, `palette` no colours, or `log` does not suit.

    References
    ----------
    Lee et al. 2020, Fig. 2 (a).

    Examples
    --------
    >>> ax = draw_sparsity(pd.DataFrame({"sparsity": [0.0, 0.9], "mean": [1.0, 0.5]}))
    >>> ax.lines[-1].get_xydata().tolist(), ax.get_xlabel()
    ([[0.0, 1.0], [0.9, 0.5]], 'sparsity, %')
    """
    table = sparsity_data(data, statistic=statistic, segment=segment)
    methods = list(dict.fromkeys(table["method"]))
    colors = colors_of(len(methods), palette, "data")
    log = check_log(log, table["value"], natural=spans_widely(table["value"], statistic))
    ax = axes_of(ax)
    sizes = Sizes.of(ax, table["sparsity"].nunique() + 0.2, 1)
    ax.set_yscale("log" if log else "linear")
    if statistic in VALUES:
        ax.axhline(1, color=QUIET, linewidth=0.8, zorder=0.7, label="_one")
    draw_curves(ax, table.assign(curve=table["method"], x=table["sparsity"]), colors, sizes, log=log, line=line,
                estimated=estimate_text(_spectra(data, segment)))
    words = STATISTICS.get(statistic, statistic)
    finish_values(ax, table, log=log, font=sizes.font, label=words, around=(1.0,) if statistic in VALUES else ())
    low, high = table["sparsity"].min(), table["sparsity"].max()
    ax.set_xlim(padded(low, high, 0.04, log=False) if low < high else (low - 0.05, high + 0.05))
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(round(100 * value, 6))))
    ax.tick_params(axis="x", labelsize=sizes.font)
    ax.set_xlabel("sparsity, %", fontsize=sizes.font)
    return ax


def _spectra(data: SparsityResults, segment: str | None) -> list[Spectrum]:
    """Return the spectra that a statistic is read from, for the facts of their estimates."""
    if isinstance(data, SpectrumSet):
        return [spectrum_of(data, segment)]
    if isinstance(data, pd.DataFrame):
        return []
    parts = data.values() if isinstance(data, Mapping) else data
    return [spectrum for part in parts for spectrum in _spectra(part, segment)]


def plot_sparsity(
    data: SparsityResults,
    *,
    statistics: Sequence[str] = ("mean",),
    segment: str | None = None,
    log: bool | None = None,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure of statistics against sparsity, a panel each side by side where there is room.

    Parameters
    ----------
    data, segment, log
        As ``draw_sparsity``, which says what is drawn.
    statistics
        One panel each.
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
        As ``draw_sparsity``; `statistics` is empty, or `width` or `height` not positive.
    """
    wanted = check_wanted(statistics, "statistics", "mean")
    tables = [sparsity_data(data, statistic=name, segment=segment) for name in wanted]
    width = figure_width(width, min(4.6 * len(wanted), 9.2))
    axes = tiled_axes(len(wanted), width=width, height=height, least=2.7, ratio=0.62)
    for ax, name in zip(axes, wanted, strict=True):
        draw_sparsity(data, statistic=name, segment=segment, ax=ax, log=log)
    return finished(axes, title=title, first=dict.fromkeys(tables[0]["method"]))
