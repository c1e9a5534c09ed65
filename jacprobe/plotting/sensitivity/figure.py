"""The sensitivity figure: histograms, points and masks of one network, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jacprobe.plotting.arguments import check_num_sets, check_positive
from jacprobe.plotting.artists.figures import PAGE, blank_figure
from jacprobe.plotting.artists.hues import INK
from jacprobe.plotting.sensitivity.histograms import draw_sensitivity
from jacprobe.plotting.sensitivity.maskgrid import MaskGrid, draw_masks
from jacprobe.plotting.sensitivity.points import draw_sensitivity_scatter
from jacprobe.plotting.sensitivity.scores import check_masks, check_scores, threshold_of

_WIDE = 5.5  # inches from which histograms and points stand side by side
_MOST_STRIPS = 16  # that fit half a page side by side

ManyMasks = Mapping[str, Tensor] | Mapping[str, Mapping[str, Tensor]]


def plot_sensitivity(
    scores: Mapping[str, Tensor],
    masks: ManyMasks | None = None,
    *,
    width: float = 7.0,
    height: float | None = None,
    title: str | None = None,
    num_points: int = 950,
    seed: int = 0,
    label: str = "connection sensitivity",
) -> Figure:
    """Return a figure of the scores of a network: histograms, points as in the paper's Fig. 1, and pictures of masks.

    Points and pictures are of the weights; parameters of one axis, such as biases, are only in the histograms, unless
    there are no others. ``draw_sensitivity``, ``draw_sensitivity_scatter`` and ``draw_mask`` say what is drawn. Where
    the name of a layer does not fit above its picture, each line of pictures has the names of its first and last layer.

    Parameters
    ----------
    scores
        Real tensors by parameter name, such as `jacprobe.scores` returns.
    masks
        Masks of the same names and shapes, or at most ten by name, such as ``{"50 %": ..., "90 %": ...}``: a row of
        pictures each. One set splits the histograms into kept and removed; of several the thresholds are marked.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide. By default it is as high as its contents need, and at
        most a page, unless the pictures of more than some fifty layers need more.
    title
        Text above the figure.
    num_points, seed
        Of ``draw_sensitivity_scatter``.
    label
        What the scores are.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ShapeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, `masks` do not fit them, or a number is none of the above.

    References
    ----------
    Lee et al. 2020, Fig. 1.
    """
    check_scores(scores)
    sets = _sets(scores, masks)
    weights = [name for name, score in scores.items() if score.ndim > 1] or list(scores)
    width = check_positive(width, "width")
    plan = _Plan.of(len(scores), len(weights), width)
    grid = MaskGrid.of(len(weights), len(sets), width, plan.room) if sets else None
    plan = plan if grid is None else plan._replace(masks=grid.height)
    figure = blank_figure(width, height, plan.height)
    axes = plan.axes(figure)
    one = next(iter(sets.values())) if len(sets) == 1 else None
    draw_sensitivity(scores, masks=one, ax=axes[0], label=label)
    if len(sets) > 1:
        _mark_thresholds(axes[0], scores, sets)
    draw_sensitivity_scatter({name: scores[name] for name in weights}, ax=axes[1], num_points=num_points, seed=seed,
                             label=label)
    if grid is not None:
        draw_masks(axes[2], grid, weights, sets, font=axes[0].xaxis.label.get_fontsize())
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * axes[0].xaxis.label.get_fontsize(), parse_math=False)
    return figure


def _sets(scores: Mapping[str, Tensor], masks: ManyMasks | None) -> dict[str, Mapping[str, Tensor]]:
    """Return checked masks by the name of their set; a set alone is named ""."""
    if masks is None:
        return {}
    several = isinstance(masks, Mapping) and masks and all(isinstance(entry, Mapping) for entry in masks.values())
    sets = dict(masks) if several else {"": masks}
    check_num_sets(len(sets), "masks")
    for entry in sets.values():
        check_masks(entry, "masks")
        check_scores(scores, entry)
    return sets


class _Plan(NamedTuple):
    """Heights in inches of the panels, and whether the first two stand side by side."""

    histograms: float
    points: float
    masks: float
    beside: bool

    @classmethod
    def of(cls, num_rows: int, num_strips: int, width: float) -> _Plan:
        beside = width >= _WIDE and num_strips <= _MOST_STRIPS
        points = min(max(0.45 * width, 1.7), 2.8)
        histograms = min(max(0.21 * num_rows, 1.2), 3.6) + 0.7
        return cls(max(histograms, points) if beside else histograms, points, 0.0, beside)

    @property
    def room(self) -> float:
        """Inches of the page that are left for the masks."""
        return PAGE - self.height

    @property
    def height(self) -> float:
        return self.histograms + (0 if self.beside else self.points) + self.masks

    def axes(self, figure: Figure) -> list[Axes]:
        """Return the Axes of histograms, points and, where there are any, masks."""
        heights = [self.histograms, *[self.points] * (not self.beside), *[self.masks] * bool(self.masks)]
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]  # each with own margins
        if self.beside:
            first = list(parts[0].subplots(1, 2, width_ratios=(1.15, 1)))
        else:
            first = [parts[0].subplots(), parts[1].subplots()]
        return [*first, parts[-1].subplots()] if self.masks else first


def _mark_thresholds(ax: Axes, scores: Mapping[str, Tensor], sets: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Mark the threshold of every set that has one by a line with its name above."""
    for key, masks in sets.items():
        threshold = threshold_of(check_scores(scores, masks))
        if threshold is None or (ax.get_xscale() == "log" and threshold <= 0):
            continue
        ax.axvline(threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=3, label=f"threshold {key}")
        ax.text(threshold, 1.01, key, transform=ax.get_xaxis_transform(), rotation=90, ha="center", va="bottom",
                fontsize=ax.xaxis.label.get_fontsize() - 1, parse_math=False)
