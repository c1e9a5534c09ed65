"""Several models over one another, layer by layer, with how far their means moved beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_epsilon, check_sets
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width
from jacprobe.plotting.artists.hues import INK, colors_of
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.shares import column_width, strip_beside
from jacprobe.plotting.artists.sizes import LEAST_TYPE, row_height, type_size
from jacprobe.plotting.artists.words import plain_number
from jacprobe.plotting.layers.layersdata import layer_table
from jacprobe.plotting.layers.rows import draw_rows, rows_height
from jacprobe.results import Spectrum, SpectrumSet


def comparison_data(results: Mapping[str, SpectrumSet], *, end_to_end: bool = True) -> pd.DataFrame:
    """Return the numbers beside ``draw_comparison`` and ``plot_comparison``: one row per set and segment.

    Parameters
    ----------
    results
        Sets by name; the first is the one that the others are compared with. Layers are matched by name.
    end_to_end
        Whether to add the end-to-end spectrum of the sets that have one.

    Returns
    -------
    DataFrame
        Columns: set, segment, position, label; mean (over all values, structural zeros included), standard_error (of
        an estimate), mean_low and mean_high (its interval, where there is one), delta (the mean less that of the first
        set; NaN for the first and where one of both is not known), zeros (share of structural zeros), reason.

    Raises
    ------
    DtypeError
        `results` is no mapping of SpectrumSets.
    ArgumentError
        `results` is empty, one of its sets has no layer, or none that the first has.

    Examples
    --------
    >>> import torch
    >>> layer = lambda *values: Spectrum("fc", "layer", "input", "fc", 2, 2, 1, label="exact", floor=1e-15,
    ...                                  values=torch.tensor([values], dtype=torch.float64))
    >>> sets = {"dense": SpectrumSet((layer(1.5, 0.5),)), "pruned": SpectrumSet((layer(0.5, 0.25),))}
    >>> comparison_data(sets)[["set", "mean", "delta"]]
          set   mean  delta
    0   dense  1.000    NaN
    1  pruned  0.375 -0.625
    """
    return _table(_matched(results), end_to_end=end_to_end).drop(columns="spectrum")


def _matched(results: Mapping[str, SpectrumSet]) -> dict[str, SpectrumSet]:
    """Return checked sets that have layers in common."""
    named = check_sets(results, "results", with_layers=True)
    first, *others = named.items()
    for name, result in others:
        if not set(first[1].layers) & set(result.layers):
            raise ArgumentError(f"`results` must have layers in common; {name!r} has {result.layers[0]!r} and so on, "
                                f"and {first[0]!r} has {first[1].layers[0]!r}. Compare models of one architecture.")
    return named


def _table(results: Mapping[str, SpectrumSet], *, end_to_end: bool) -> pd.DataFrame:
    table = layer_table(results, end_to_end=end_to_end)
    mean = table["spectrum"].map(lambda spectrum: spectrum.mean).astype(float)
    interval = table["spectrum"].map(lambda spectrum: spectrum.mean_interval)
    first = table["set"] == next(iter(results))
    reference = dict(zip(table["segment"][first], mean[first], strict=True))
    delta = mean - table["segment"].map(reference).astype(float)
    return pd.DataFrame({
        **{name: table[name] for name in ("set", "segment", "position", "label")},
        "mean": mean,
        "standard_error": table["spectrum"].map(Spectrum.standard_error).astype(float),
        "mean_low": interval.map(lambda ends: ends[0]).astype(float),
        "mean_high": interval.map(lambda ends: ends[1]).astype(float),
        "delta": delta.mask(first),
        "zeros": table["zeros"], "reason": table["reason"], "spectrum": table["spectrum"],
    })


def draw_comparison(
    results: Mapping[str, SpectrumSet],
    *,
    ax: Axes | None = None,
    epsilon: float | None = None,
    log: bool = True,
    table: bool = True,
    include_end_to_end: bool = True,
    palette: Sequence[object] | None = None,
    **ridge: object,
) -> Axes:
    """Draw the densities of several sets over one another, a row per layer, and return the Axes.

    Each row is as in ``draw_ridges``. Columns at the right tell the mean of the first set and how far the others are
    from it; "~" is an estimate, an interval is rounded outwards, and a dash stands where it is not known.

    Parameters
    ----------
    results
        Sets by name, such as ``{"dense": ..., "pruned": ..., "repaired": ...}``; layers are matched by name.
    ax
        Where to draw; a new figure without pyplot if None.
    epsilon
        Half-width of the shaded band around 1; that of the sets if None.
    log
        Whether the values are on a logarithmic axis, and their densities those of the logarithms.
    table
        Whether the columns stand at the right; they need type of 4 points or more to do so.
    include_end_to_end
        Whether the end-to-end spectrum follows the layers.
    palette
        A colour per set.
    **ridge
        Forwarded to ``Axes.fill_between``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``comparison_data``; `ax` is no Axes, `epsilon` not positive or not the same in all sets, or `palette` no
        colours.

    See Also
    --------
    comparison_data, ridges_data : the numbers that are drawn.

    References
    ----------
    Lee et al. 2020, section 4 (approximate isometry restores what pruning broke).
    """
    named = _matched(results)
    colors = colors_of(len(named), palette, "results")
    epsilon = check_epsilon(epsilon, named)
    ax = draw_rows(axes_of(ax), layer_table(named, end_to_end=include_end_to_end), colors, epsilon=epsilon, log=log,
                   ridge=ridge)
    if table:
        _draw_table(ax, _table(named, end_to_end=include_end_to_end), list(named), colors)
    return ax


def _draw_table(ax: Axes, table: pd.DataFrame, names: list[str], colors: Sequence[object]) -> None:
    """Write the means of the first set and the changes of the others in columns at the right of `ax`."""
    font = type_size(ax)
    bottom, top = ax.get_ylim()
    size = min(font - 1, 0.62 * row_height(ax, bottom - top))
    if size < 4:
        return
    texts = table.assign(text=[_text(entry, is_first=entry.set == names[0]) for entry in table.itertuples()])
    longest = texts.groupby("set")["text"].agg(lambda column: column.str.len().max())
    left = 0.12 + (column_width(font) if ax.child_axes else 0.0)
    for index, name in enumerate(names):
        width = (0.58 * size * max(longest[name], 4) + 0.7 * size) / 72
        column = strip_beside(ax, left, width, f"table {name}")
        column.set(xlim=(0, 1), ylim=ax.get_ylim())
        for entry in texts[texts["set"] == name].itertuples():
            column.text(1, entry.position, entry.text, ha="right", va="center", fontsize=size, color=INK)
        column.set_title("■\nmean" if index == 0 else "■\nΔ", fontsize=max(size, LEAST_TYPE), pad=2,
                         color=colors[index], loc="right")
        left += width + 0.02


def _text(entry: tuple, *, is_first: bool) -> str:
    """Return the cell of one set and segment."""
    value = entry.mean if is_first else entry.delta
    if not math.isfinite(value):
        known = is_first and math.isfinite(entry.mean_low) and math.isfinite(entry.mean_high)
        return f"{_outwards(entry.mean_low, math.floor)}–{_outwards(entry.mean_high, math.ceil)}" if known else "–"
    if not is_first and abs(value) <= 1e-6 * abs(entry.mean):
        value = 0.0  # rounding
    sign = "" if is_first else "+" if value > 0 else "−" if value < 0 else "±"
    about = "~" if entry.label == "estimated" else ""
    return f"{about}{sign}{_short(abs(value))}"


def _short(value: float) -> str:
    """Return a number in five characters or so."""
    return f"{value:.2f}" if value == 0 or 0.01 <= value < 100 else plain_number(value, form=".0e")


def _outwards(value: float, rounding: object) -> str:
    return f"{rounding(100 * value) / 100:.2f}"


def plot_comparison(
    results: Mapping[str, SpectrumSet],
    *,
    epsilon: float | None = None,
    log: bool = True,
    table: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
    end_to_end: bool = True,
) -> Figure:
    """Return a figure of several models over one another, layer by layer; ``draw_comparison`` says what is drawn.

    Parameters
    ----------
    results
        At most ten sets by name, the one to compare with first.
    epsilon, log, table, end_to_end
        As ``draw_comparison``.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide. By default the height grows with the layers.
    title
        Text above the figure.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError
        As ``draw_comparison``; `width` or `height` is not positive.
    """
    named = _matched(results)
    width = figure_width(width, 6.0)
    ax = blank_figure(width, height, rows_height(named) + 0.3).add_subplot()
    draw_comparison(named, ax=ax, epsilon=epsilon, log=log, table=table, include_end_to_end=end_to_end)
    return finished([ax], title=title, first=named)
