"""The layer figure: how the Jacobian singular values are distributed in each layer, in forward order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.arguments import ManySets, check_color, check_epsilon, check_one_set, check_sets
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width
from jacprobe.plotting.artists.hues import INK, PALETTE, QUIET, colors_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.labels import HATCH
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import GROUP, Sizes
from jacprobe.plotting.artists.ticks import name_ticks, value_ticks
from jacprobe.plotting.layers.layersdata import layer_order, layer_table
from jacprobe.plotting.layers.marks import (
    draw_frame,
    draw_marks,
    draw_strip,
    has_shares,
    name_states,
    slots_of,
    value_limits,
)
from jacprobe.plotting.spectra.points import violin_points
from jacprobe.results import SpectrumSet


def draw_layers(
    result: SpectrumSet,
    *,
    ax: Axes | None = None,
    epsilon: float | None = None,
    color: object = None,
    label: str | None = None,
    log: bool = True,
    include_end_to_end: bool = True,
    **violin: object,
) -> Axes:
    """Draw the distribution of singular values per layer, in forward order, and return the Axes.

    A violin shows the values of all inputs above the floor, with a dot at their median and a bar between their
    quartiles; a distribution without width is a line. What is not exact looks otherwise, as ``ax.legend()`` tells: an
    estimated distribution is hatched (or a dotted line) and ends where its nodes do; where there are only bounds, a
    dashed frame holds all values, and its filled part the largest. The bars above the Axes show what a violin cannot:
    the share of values that are zero by structure (solid) and of others that are at or under the floor (pale). A layer
    without a spectrum keeps its slot. A logarithmic axis ends at the lowest 5 % quantile of any violin; a triangle at
    its foot marks what goes on below. ``layers_data`` returns the numbers.

    Parameters
    ----------
    result
        Spectra with at least one layer.
    ax
        Where to draw; a new figure without pyplot if None.
    epsilon
        Half-width of the shaded band around 1; that of `result` if None.
    color, label
        Of the violins; the label is what ``ax.legend()`` shows.
    log
        Whether the values are on a logarithmic axis, and their densities those of the logarithms.
    include_end_to_end
        Whether the end-to-end spectrum follows the layers, where `result` has one.
    **violin
        Forwarded to ``seaborn.violinplot``.

    Raises
    ------
    DtypeError
        `result` is no SpectrumSet, or `ax` no Axes.
    ArgumentError
        `result` has no layer, `epsilon` is not a positive number, or `color` no color.

    Notes
    -----
    A violin of more than 4096 values is the density of that many evenly spaced order statistics.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_layers(SpectrumSet((layer,)))
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['fc1']
    """
    results = {label or "": check_one_set(result, "plot_layers")}
    epsilon = check_epsilon(epsilon, results)
    ax = axes_of(ax)
    color = PALETTE[0] if check_color(color) is None else color
    table = _layout(results, [color], end_to_end=include_end_to_end)
    return _draw(ax, table, epsilon=epsilon, log=log, violin=violin)


def plot_layers(
    results: ManySets,
    *,
    epsilon: float | None = None,
    log: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
    end_to_end: bool = True,
) -> Figure:
    """Return a figure of the singular values per layer, several sets side by side in each layer's slot.

    Layers are matched by name; where a set lacks a layer, its place stays empty. ``draw_layers`` says what is drawn.

    Parameters
    ----------
    results
        One set, or at most ten by name, such as ``{"dense": ..., "pruned": ...}``.
    epsilon
        Half-width of the shaded band around 1; that of the sets if None.
    log
        Whether the values are on a logarithmic axis, and their densities those of the logarithms.
    width, height
        Of the figure, in inches. By default the width grows with what is drawn; a paper's column is 3.3 wide.
    title
        Text above the figure.
    end_to_end
        Whether the end-to-end spectrum follows the layers.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell. Save it with
        ``figure.savefig``.

    Raises
    ------
    DtypeError
        `results` or one of its values is no SpectrumSet.
    ArgumentError
        `results` is empty, has more than ten sets or a set without layers; `epsilon`, `width` or `height` is not
        positive; the sets differ in `epsilon` and none is given.
    """
    named = check_sets(results, "results", with_layers=True)
    colors = colors_of(len(named), None, "results")
    epsilon = check_epsilon(epsilon, named)
    width = figure_width(width, min(max(1.2 + 0.36 * (len(layer_order(named)) + 1.5) * max(2, len(named)), 4.5), 14))
    ax = blank_figure(width, height, min(max(0.5 * width, 2.5), 4.2)).add_subplot()
    _draw(ax, _layout(named, colors, end_to_end=end_to_end), epsilon=epsilon, log=log, violin={})
    return finished([ax], title=title, first=named)


def _layout(results: Mapping[str, SpectrumSet], colors: Sequence[object], *, end_to_end: bool) -> pd.DataFrame:
    """Return the numbers to draw, with the index, the center and the color of each violin."""
    table = layer_table(results, end_to_end=end_to_end)
    table["index"] = table["set"].map(list(results).index)
    table["center"] = table["position"] + (table["index"] - (len(results) - 1) / 2) * GROUP / len(results)
    table["color"] = [colors[index] for index in table["index"]]
    return table


def _draw(ax: Axes, table: pd.DataFrame, *, epsilon: float, log: bool, violin: Mapping[str, object]) -> Axes:
    """Draw all sets on `ax`: band, violins and their marks, names, and the strip of zeros."""
    slots = slots_of(table)
    left, right = -0.6, max(slots) + 0.6
    sizes = Sizes.of(ax, right - left, table["index"].max() + 1)
    ax.set_yscale("log" if log else "linear")
    draw_isometry_band(ax, epsilon, along="y", log=log)
    sets = table.drop_duplicates("index")
    name_states(ax, table, list(sets["set"]), list(sets["color"]))
    estimated = table["label"] == "estimated"
    _draw_violins(ax, table[~estimated], sizes, violin)
    _draw_violins(ax, table[estimated], sizes, {"hatch": HATCH, "alpha": 0.6, **violin})
    for row in table.dropna(subset="high").itertuples():
        draw_frame(ax, row, row.center - 0.35 * sizes.width, 0.7 * sizes.width, row.color,
                   sizes.line(0.04, 0.6, 1.2), along="y")
    draw_marks(ax, table, sizes)
    ax.set(xlim=(left, right), ylim=value_limits(table, epsilon, log=log), xlabel="")
    ax.set_ylabel("singular value", fontsize=sizes.font)
    name_ticks(ax, list(slots), list(slots.values()), sizes)
    value_ticks(ax, log=log, font=sizes.font)
    below = table[table[["min", "low"]].min(axis=1) < ax.get_ylim()[0]]
    ax.scatter(below["center"], [0.025] * len(below), s=sizes.line(0.3, 4, 6) ** 2, facecolor=list(below["color"]),
               edgecolor="white", linewidth=0.8, marker="v", zorder=5, transform=ax.get_xaxis_transform())
    if max(slots) % 1:  # the half slot before end to end
        ax.axvline(max(slots) - 0.75, color=QUIET, linewidth=0.6)
    if has_shares(table):
        draw_strip(ax, table.dropna(subset="zeros"), sizes)
    return ax


def _draw_violins(ax: Axes, table: pd.DataFrame, sizes: Sizes, violin: Mapping[str, object]) -> None:
    """Draw every distribution that has a width, by one call of ``seaborn.violinplot``."""
    points = {(row.index, row.position): violin_points(row.spectrum) for row in table.itertuples(index=False)}
    frames = [pd.DataFrame({"set": i, "x": x, "value": value}) for (i, x), value in points.items() if value.size]
    if not frames:
        return
    data = pd.concat(frames)
    gaps = np.diff(np.unique(data["x"]))  # seaborn measures widths in the smallest of them
    defaults = {"inner": None, "cut": 0, "density_norm": "width", "gap": 0.06, "saturation": 1, "legend": False,
                "linewidth": sizes.line(0.03, 0.3, 0.8), "linecolor": INK, "bw_adjust": 0.7}
    chosen = {**defaults, "width": GROUP, **violin}
    chosen["width"] = chosen["width"] / (gaps.min() if gaps.size else 1)
    seaborn.violinplot(data, x="x", y="value", hue="set", hue_order=range(sizes.num_sets), dodge=True, ax=ax,
                       palette=dict(zip(table["index"], table["color"], strict=True)), native_scale=True, **chosen)
