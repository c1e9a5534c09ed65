"""Ridgelines: a density per layer, from the first at the top to the last at the bottom, on one axis."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jacprobe.plotting.arguments import ManySets, check_color, check_epsilon, check_one_set, check_sets
from jacprobe.plotting.artists.figures import axes_of, blank_figure, figure_width, grid_axes
from jacprobe.plotting.artists.hues import PALETTE, colors_of
from jacprobe.plotting.artists.legends import finished
from jacprobe.plotting.artists.words import elide
from jacprobe.plotting.layers.layersdata import layer_table
from jacprobe.plotting.layers.marks import has_shares, value_limits
from jacprobe.plotting.layers.rows import draw_rows, rows_height
from jacprobe.results import SpectrumSet


def draw_ridges(
    result: SpectrumSet,
    *,
    ax: Axes | None = None,
    epsilon: float | None = None,
    color: object = None,
    label: str | None = None,
    log: bool = True,
    include_end_to_end: bool = True,
    **ridge: object,
) -> Axes:
    """Draw the density of the singular values of each layer as a ridge, the first at the top, and return the Axes.

    Every ridge is as high as the others and ends at its smallest and largest value above the floor; a dot is its
    median, and a distribution without width is an upright line. What is not exact looks otherwise, as ``ax.legend()``
    tells: an estimate is hatched (or a dotted line); where there are only bounds, a dashed frame holds all values, and
    its filled part the largest. Bars at the right show the share of structural zeros, and pale that under the floor.

    Parameters
    ----------
    result
        Spectra with at least one layer.
    ax
        Where to draw; a new figure without pyplot if None.
    epsilon
        Half-width of the shaded band around 1; that of `result` if None.
    color, label
        Of the ridges; the label is what ``ax.legend()`` shows.
    log
        Whether the values are on a logarithmic axis, and their densities those of the logarithms.
    include_end_to_end
        Whether the end-to-end spectrum follows the layers, where `result` has one.
    **ridge
        Forwarded to ``Axes.fill_between``.

    Raises
    ------
    DtypeError
        `result` is no SpectrumSet, or `ax` no Axes.
    ArgumentError
        `result` has no layer, `epsilon` is not a positive number, or `color` no color.

    See Also
    --------
    ridges_data, layers_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_ridges(SpectrumSet((layer,)))
    >>> [tick.get_text() for tick in ax.get_yticklabels()], ax.get_xscale()
    (['fc1'], 'log')
    """
    results = {label or "": check_one_set(result, "plot_ridges")}
    epsilon = check_epsilon(epsilon, results)
    color = PALETTE[0] if check_color(color) is None else color
    table = layer_table(results, end_to_end=include_end_to_end)
    return draw_rows(axes_of(ax), table, [color], epsilon=epsilon, log=log, ridge=ridge)


def plot_ridges(
    results: ManySets,
    *,
    epsilon: float | None = None,
    log: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
    end_to_end: bool = True,
) -> Figure:
    """Return a figure of ridgelines, a column per set on the same axis; ``draw_ridges`` says what is drawn.

    Parameters
    ----------
    results
        One set, or at most ten by name. ``plot_comparison`` draws them over one another.
    epsilon, log, end_to_end
        As ``draw_ridges``; by default `epsilon` is that of the sets.
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
        As ``draw_ridges``; `results` is empty or has more than ten sets, `width` or `height` is not positive, or
        the sets differ in `epsilon` and none is given.
    """
    named = check_sets(results, "results", with_layers=True)
    colors = colors_of(len(named), None, "results")
    epsilon = check_epsilon(epsilon, named)
    width = figure_width(width, min(1.5 + 2.6 * len(named), 10.0))
    axes = grid_axes(blank_figure(width, height, rows_height(named)), len(named), len(named))
    table = layer_table(named, end_to_end=end_to_end)
    limits = value_limits(table, epsilon, log=log)
    parts = [table[table["set"] == name] for name in named]
    aligned = all(part["segment"].tolist() == parts[0]["segment"].tolist() for part in parts)
    for ax, name, part, color in zip(axes, named, parts, colors, strict=True):
        draw_rows(ax, part.assign(set=""), [color], epsilon=epsilon, log=log, limits=limits, shares=has_shares(table))
        ax.set_title(elide(name), fontsize=ax.xaxis.label.get_fontsize(), pad=3, parse_math=False)
        if ax is not axes[0] and aligned:
            ax.set_yticklabels([])
        if ax is not axes[(len(axes) - 1) // 2]:
            ax.set_xlabel("")
    return finished(axes, title=title)
