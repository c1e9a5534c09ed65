"""The layer figure: how the Jacobian singular values are distributed in each layer, in forward order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting.contexts import figure_width
from jacprobe.plotting.hues import PALETTE
from jacprobe.plotting.layerdata import check_sets, layer_order, layer_table, violin_points
from jacprobe.plotting.marks import draw_marks, draw_ranges, draw_strip
from jacprobe.plotting.style import (
    GROUP,
    INK,
    QUIET,
    TINY,
    SelfShowingFigure,
    Sizes,
    axes_of,
    check_positive,
    name_ticks,
    value_ticks,
)
from jacprobe.results import SpectrumSet

_HATCH = "//////"


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
    if isinstance(result, Mapping):
        raise DtypeError("`result` must be one SpectrumSet; got a mapping. Use `plot_layers` for several.")
    results = {label or "": result} if check_sets(result, "result") else {}
    epsilon = check_epsilon(epsilon, results)
    ax = axes_of(ax)
    if color is not None and not is_color_like(color):
        raise ArgumentError(f"`color` must be a matplotlib color; got {color!r}. Give a name such as 'tab:blue'.")
    table = _layout(results, [PALETTE[0] if color is None else color], end_to_end=include_end_to_end)
    return _draw(ax, table, epsilon=epsilon, log=log, violin=violin)


def plot_layers(
    results: SpectrumSet | Mapping[str, SpectrumSet],
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
    named = check_sets(results, "results")
    if len(named) > len(PALETTE):
        raise ArgumentError(f"`results` must hold at most {len(PALETTE)} sets; got {len(named)}. Plot fewer at once.")
    epsilon = check_epsilon(epsilon, named)
    width = figure_width(width, min(max(1.2 + 0.36 * (len(layer_order(named)) + 1.5) * max(2, len(named)), 4.5), 14))
    height = check_positive(min(max(0.5 * width, 2.5), 4.2) if height is None else height, "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    table = _layout(named, PALETTE, end_to_end=end_to_end)
    ax = _draw(figure.add_subplot(), table, epsilon=epsilon, log=log, violin={})
    font = ax.yaxis.label.get_fontsize()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=font,
                  handlelength=1.2, handletextpad=0.5, columnspacing=1.5)
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * font)
    return figure


def check_epsilon(epsilon: float | None, results: Mapping[str, SpectrumSet]) -> float:
    """Return `epsilon`, or that which all sets have, checked."""
    if epsilon is None:
        found = {result.epsilon for result in results.values()}
        if len(found) > 1:
            texts = ", ".join(f"{value:g}" for value in sorted(found))
            raise ArgumentError(f"`epsilon` must be one for all sets; they have {texts}. Pass `epsilon`.")
        epsilon = found.pop()
    return check_positive(epsilon, "epsilon")


def _layout(results: Mapping[str, SpectrumSet], colors: Sequence[object], *, end_to_end: bool) -> pd.DataFrame:
    """Return the numbers to draw, with the index, the center and the color of each violin."""
    table = layer_table(results, end_to_end=end_to_end)
    table["index"] = table["set"].map(list(results).index)
    table["center"] = table["position"] + (table["index"] - (len(results) - 1) / 2) * GROUP / len(results)
    table["color"] = [colors[index] for index in table["index"]]
    return table


def _draw(ax: Axes, table: pd.DataFrame, *, epsilon: float, log: bool, violin: Mapping[str, object]) -> Axes:
    """Draw all sets on `ax`: band, violins and their marks, names, and the strip of zeros."""
    slots = dict(sorted(zip(table["position"], table["segment"], strict=True)))
    left, right = -0.6, max(slots) + 0.6
    sizes = Sizes.of(ax, right - left, table["index"].max() + 1)
    ax.set_yscale("log" if log else "linear")
    _draw_band(ax, epsilon, log=log)
    _name_sets(ax, table)
    estimated = table["label"] == "estimated"
    _draw_violins(ax, table[~estimated], sizes, violin)
    _draw_violins(ax, table[estimated], sizes, {"hatch": _HATCH, "alpha": 0.6, **violin})
    draw_ranges(ax, table.dropna(subset="high"), sizes)
    draw_marks(ax, table, sizes)
    ax.set(xlim=(left, right), ylim=_value_limits(table, epsilon, log=log), xlabel="")
    ax.set_ylabel("singular value", fontsize=sizes.font)
    name_ticks(ax, list(slots), list(slots.values()), sizes)
    value_ticks(ax, log=log, font=sizes.font)
    below = table[table[["min", "low"]].min(axis=1) < ax.get_ylim()[0]]
    ax.scatter(below["center"], [0.025] * len(below), s=sizes.line(0.3, 4, 6) ** 2, facecolor=list(below["color"]),
               edgecolor="white", linewidth=0.8, marker="v", zorder=5, transform=ax.get_xaxis_transform())
    if max(slots) % 1:  # the half slot before end to end
        ax.axvline(max(slots) - 0.75, color=QUIET, linewidth=0.6)
    if (table[["zeros", "under_floor"]] > 0).any(axis=None):
        draw_strip(ax, table.dropna(subset="zeros"), sizes)
    return ax


def _value_limits(table: pd.DataFrame, epsilon: float, *, log: bool) -> tuple[float, float]:
    high = np.nanmax([table["max"].max(), table["high"].max(), 1 + 2 * epsilon])
    if not log:
        return 0.0, 1.05 * high
    low = np.nanmin([table["q05"].min(), table.loc[table["top"] > 0, "top"].min(), max(1 - 2 * epsilon, 0.5)])
    pad = (high / low) ** 0.06
    return low / pad, high * pad


def _draw_band(ax: Axes, epsilon: float, *, log: bool) -> None:
    low = max(1 - epsilon, TINY) if log else 1 - epsilon
    ax.axhspan(low, 1 + epsilon, color=PALETTE[2], alpha=0.2, linewidth=0, zorder=0.6, label=f"1 ± {epsilon:g}")
    ax.axhline(1, color=QUIET, linewidth=0.8, zorder=0.7)


def _name_sets(ax: Axes, table: pd.DataFrame) -> None:
    """Give the legend one mark per set, and one per label that is not exact."""
    for row in table.drop_duplicates("index").itertuples():
        if row.set:
            safe = f" {row.set}" if row.set.startswith("_") else row.set  # a leading underscore would hide it
            ax.scatter([], [], marker="s", color=[row.color], label=safe.replace("$", r"\$"))
    if ((table["label"] == "estimated") & table["median"].notna()).any():
        ax.scatter([], [], marker="s", s=60, facecolor="0.85", edgecolor=INK, linewidth=0.5, hatch=_HATCH,
                   label="estimated")
    if table["high"].notna().any():
        ax.scatter([], [], marker="s", s=60, facecolor="none", edgecolor=INK, linestyle="--", label="bounded")


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
