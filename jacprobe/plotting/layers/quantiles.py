"""The heat map of layers and quantiles: whole spectra of many layers at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import ManySets, check_num_sets, check_one_set, check_positive, check_sets
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width, grid_axes
from jacprobe.plotting.artists.hues import QUIET
from jacprobe.plotting.artists.labels import estimate_text
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.sizes import LEAST_TYPE, Sizes
from jacprobe.plotting.artists.ticks import name_ticks
from jacprobe.plotting.artists.words import plain_number
from jacprobe.plotting.layers.marks import slots_of
from jacprobe.plotting.layers.quantilesdata import quantiles_data
from jacprobe.results import SpectrumSet

_MAP = "RdBu_r"  # red above 1, white at 1, blue below: told apart also by the colour-blind
_LEAST_REACH, _MOST_REACH = 1.5, 1e4
_ZERO, _FLOOR = "0.25", "0.6"
_HATCH = "////"
_WORDS = {"none": "no spectrum", "bounded": "bounds only", "estimated": "moments only", "exact": "no values"}


def draw_quantiles(
    result: SpectrumSet,
    *,
    ax: Axes | None = None,
    reach: float | None = None,
    num_quantiles: int = 50,
    colorbar: bool = True,
    include_end_to_end: bool = True,
    **mesh: object,
) -> Axes:
    """Draw the quantiles of the singular values of each layer as colours, in forward order, and return the Axes.

    A column is a layer, from its smallest values at the bottom to its largest at the top, all of them filling equal
    heights. White is 1, blue below and red above, equally far in logarithms. The dark part at the foot of a column is
    its share of structural zeros, the grey one that of values at or under the floor. A column that is estimated is
    hatched; one without single values is empty and says so.

    Parameters
    ----------
    result
        Spectra with at least one layer.
    ax
        Where to draw; a new figure without pyplot if None.
    reach
        The factor above and below 1 at which the colours end; by default such that 95 % of the values are within.
    num_quantiles
        Steps of a column.
    colorbar
        Whether a scale of the colours stands at the right, outside the Axes.
    include_end_to_end
        Whether the end-to-end spectrum follows the layers, where `result` has one.
    **mesh
        Forwarded to ``Axes.pcolormesh``.

    Raises
    ------
    DtypeError
        `result` is no SpectrumSet, or `ax` no Axes.
    ArgumentError
        `result` has no layer, `reach` is not above 1, or `num_quantiles` no positive integer.

    See Also
    --------
    quantiles_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_quantiles(SpectrumSet((layer,)), num_quantiles=4)
    >>> ax.collections[0].get_array().round(2).tolist()  # powers of ten
    [[None], [0.0], [0.3], [0.6]]
    """
    check_one_set(result, "plot_quantiles")
    table = quantiles_data(result, num_quantiles=num_quantiles, end_to_end=include_end_to_end)
    reach = _reach(table) if reach is None else _check_reach(reach)
    ax = axes_of(ax)
    slots = slots_of(table)
    sizes = Sizes.of(ax, max(slots) + 1.2, 1)
    norm = Normalize(-math.log10(reach), math.log10(reach))
    for position, part in table.groupby("position"):
        _draw_column(ax, part, position, norm, sizes, mesh)
    _name_parts(ax, table, estimate_text(s for s in result if s.kind in ("layer", "end_to_end")))
    ax.set(xlim=(-0.6, max(slots) + 0.6), ylim=(0, 1), xlabel="")
    ax.set_yticks([0, 0.5, 1], ["0", "50", "100"], fontsize=sizes.font)
    ax.set_ylabel("share of values, %", fontsize=sizes.font)
    ax.spines[:].set_visible(False)
    name_ticks(ax, list(slots), list(slots.values()), sizes)
    if colorbar:
        _draw_colorbar(ax, norm, mesh.get("cmap", _MAP), sizes.font)
    return ax


def _check_reach(reach: float) -> float:
    if check_positive(reach, "reach") <= 1:
        raise ArgumentError(f"`reach` must be above 1; got {reach!r}. 10 means colours from 0.1 to 10.")
    return float(reach)


def _reach(table: pd.DataFrame) -> float:
    """Return a round factor within which 95 % of the values lie of 1."""
    known = table["value"].dropna()
    known = known[known > 0]
    far = float(np.quantile(np.abs(np.log10(known)), 0.95)) if len(known) else 0.0
    return float(np.clip(10 ** (math.ceil(4 * far) / 4), _LEAST_REACH, _MOST_REACH))


def _draw_column(ax: Axes, part: pd.DataFrame, position: float, norm: Normalize, sizes: Sizes,
                 mesh: Mapping[str, object]) -> None:
    """Draw the colours of one segment, what is hidden below them, or a word."""
    name, half = part["segment"].iloc[0], 0.47 if sizes.slot > 8 else 0.5  # gaps between thin columns would look uneven
    left, right = position - half, position + half
    if (part["state"] == "unknown").all():
        ax.text(position, 0.5, _WORDS[part["label"].iloc[0]], rotation=90, ha="center", va="center", color=QUIET,
                fontsize=min(sizes.font - 1, max(0.6 * sizes.slot, LEAST_TYPE)))
        return
    edges = np.linspace(0, 1, len(part) + 1)
    with np.errstate(divide="ignore"):
        colors = np.ma.masked_invalid(np.log10(part["value"].to_numpy(dtype=float)))
    ax.pcolormesh([left, right], edges, colors[:, None],
                  **{"cmap": _MAP, "norm": norm, "rasterized": True, "label": f"_{name}", **mesh})
    base = 0.0
    for column, color in (("zeros", _ZERO), ("under_floor", _FLOOR)):
        share = float(np.nan_to_num(part[column].iloc[0]))
        if share:
            ax.bar([position], [share], right - left, bottom=base, color=color, linewidth=0, label=f"_{column} {name}")
        base += share
    if half < 0.5:
        ax.bar([position], [1], right - left, fill=False, edgecolor=QUIET, linewidth=0.4, label=f"_frame {name}")
    if part["label"].iloc[0] == "estimated":
        ax.bar([position], [1], right - left, fill=False, hatch=_HATCH, edgecolor="0.45", linewidth=0,
               label=f"_estimated {name}")


def _name_parts(ax: Axes, table: pd.DataFrame, estimated: str) -> None:
    """Give the legend a mark for what is no colour."""
    square = {"marker": "s", "s": 50, "linewidths": 0.5}
    if (table["zeros"] > 0).any():
        ax.scatter([], [], color=_ZERO, label="structural zeros", **square)
    if (table["under_floor"] > 0).any():
        ax.scatter([], [], color=_FLOOR, label="under the floor", **square)
    if (table["label"] == "estimated").any():
        ax.scatter([], [], facecolor="white", edgecolor="0.45", hatch=_HATCH, label=estimated, **square)


def _draw_colorbar(ax: Axes, norm: Normalize, cmap: object, font: float) -> None:
    bar = ax.inset_axes([1.02, 0, 0.025, 1], label="colorbar")
    mapping = matplotlib.cm.ScalarMappable(norm, cmap)
    ax.figure.colorbar(mapping, cax=bar, extend="both", extendfrac=0.04)
    bar.yaxis.set_major_locator(MaxNLocator(5, integer=norm.vmax >= 1, symmetric=True))
    bar.yaxis.set_major_formatter(FuncFormatter(lambda power, _: plain_number(float(f"{10**power:.2g}"))))
    bar.tick_params(labelsize=font - 1, length=2, pad=2)
    bar.set_ylabel("singular value", fontsize=font, labelpad=2)


def plot_quantiles(
    results: ManySets,
    *,
    reach: float | None = None,
    num_quantiles: int = 50,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
    end_to_end: bool = True,
) -> Figure:
    """Return a figure of heat maps of layers and quantiles, one per set below one another, in the same colours.

    Parameters
    ----------
    results
        One set, or several by name.
    reach, num_quantiles, end_to_end
        As ``draw_quantiles``, which says what is drawn.
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
        As ``draw_quantiles``; `results` is empty or has more than ten sets, or `width` or `height` is not positive.
    """
    named = check_sets(results, "results", with_layers=True)
    check_num_sets(len(named), "results")
    table = quantiles_data(named, num_quantiles=num_quantiles, end_to_end=end_to_end)
    reach = _reach(table) if reach is None else _check_reach(reach)
    num = table["segment"].nunique()
    width = figure_width(width, min(max(2.0 + 0.4 * num, 4.5), 10.0))
    each = min(max(0.33 * width, 1.2), 2.4)
    axes = grid_axes(blank_figure(width, height, each * len(named) + 0.8), len(named), 1)
    for ax, (name, result) in zip(axes, named.items(), strict=True):
        draw_quantiles(result, ax=ax, reach=reach, num_quantiles=num_quantiles, include_end_to_end=end_to_end)
        if name:
            ax.set_title(name, fontsize=ax.yaxis.label.get_fontsize(), pad=3, parse_math=False)
        if ax is not axes[-1] and table.groupby("position")["set"].nunique().eq(len(named)).all():
            ax.set_xticklabels([])
    return finished(axes, title=title)
