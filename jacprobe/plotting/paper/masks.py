"""Masks by sparsity and layer, and the scores they come from, as in the paper's Fig. 1."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_positive
from jacprobe.plotting.artists.words import legend_text
from jacprobe.plotting.paper.grids import name_once, panel_figure, set_height, square_panels
from jacprobe.plotting.paper.legends import legend_below
from jacprobe.plotting.paper.strips import draw_strips, score_strips
from jacprobe.plotting.paper.tiles import draw_tiles, mask_tiles

_SHADES = {name: Patch(facecolor=color, edgecolor="black", linewidth=0.8)
           for name, color in (("pruned", "black"), ("kept", "white"))}


def plot_paper_masks(
    masks: Mapping[str, Mapping[tuple[float, object], object]],
    scores: Mapping[str, Mapping[object, object]] | None = None,
    *,
    ceiling: float | None = 3e-5,
    points: int = 950,
    seed: int = 0,
    columns: int | None = None,
    width: float | None = None,
    height: float | None = None,
) -> Figure:
    """Return a figure of masks, a panel per network, and of the scores that made them, another panel per network.

    Black is pruned, white is kept. Kernels are flattened to a row per output.

    Parameters
    ----------
    masks
        By network, then by ``(sparsity in %, layer)``: bool arrays or tensors, True = kept. A row per sparsity, a
        column per layer.
    scores
        By network, then by layer: connection sensitivities, arrays or tensors of any shape; None for masks alone.
    ceiling
        Upper end of the axis of scores; scores above are counted in words. None: the largest score.
    points
        How many scores of a layer are drawn at most, chosen at random.
    seed
        Of that choice and of the places of points in their strip.
    columns
        Panels side by side; by default as many as fit.
    width, height
        Of the figure, in inches. A column of a paper is 3.3 wide, two are 6.85.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; its PDF files hold TrueType fonts.

    Raises
    ------
    DtypeError, ShapeError, ArgumentError, NonFiniteError
        There is no mask; a mask is not bool or is empty; a sparsity lies outside [0, 100]; scores are no numbers,
        empty, negative, NaN or infinite; `ceiling`, `points`, `columns` or a size is not positive.

    References
    ----------
    Lee et al. 2020, Fig. 1.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_paper_masks({"tanh": {(50, 2): np.eye(4) > 0, (90, 2): np.eye(4) > 1}},
    ...                           {"tanh": {2: np.full((4, 4), 1e-5)}})
    >>> [ax.get_title() for ax in figure.axes], len(figure.axes[0].images)
    (['tanh', 'tanh'], 2)
    """
    tiles = {name: mask_tiles(of_network) for name, of_network in masks.items()}
    if not tiles:
        raise ArgumentError("`masks` must hold at least one network; got none. Prune one first.")
    strips = {name: score_strips(of_network, points=points, seed=seed) for name, of_network in (scores or {}).items()}
    if ceiling is None:
        ceiling = max((strip.top for strip in strips.values()), default=1.0) or 1.0
    top = check_positive(ceiling, "ceiling")
    figure, axes, font = panel_figure(len(tiles) + len(strips), columns=columns, width=width, aspect=1.12)
    for ax, (name, of_network) in zip(axes, tiles.items(), strict=False):
        draw_tiles(ax, of_network, font=font)
        ax.set_title(legend_text(name), fontsize=1.05 * font, pad=0.6 * font)
    for ax, (name, strip) in zip(axes[len(tiles):], strips.items(), strict=True):
        draw_strips(ax, strip, top=top, font=font)
        ax.set_title(legend_text(name), fontsize=1.05 * font, pad=0.6 * font)
    name_once(axes)
    set_height(figure, height, below=legend_below(figure, _SHADES, {}, font=font))
    if height is None:
        square_panels(figure, axes)
    return figure
