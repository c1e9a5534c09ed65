"""The sensitivity figure: histograms, points and masks of one network, on one page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.plotting.masks import draw_mask
from jacprobe.plotting.scatter import draw_sensitivity_scatter
from jacprobe.plotting.sensitivity import draw_sensitivity
from jacprobe.plotting.sensitivitydata import check_masks, check_scores, threshold_of
from jacprobe.plotting.style import INK, LEAST_TYPE, SelfShowingFigure, check_positive, elide, percent, short_name

_PAGE = 9.4  # inches that a figure may be high
_MOST_SETS = 10
_WIDE = 5.5  # inches from which histograms and points stand side by side
_MOST_STRIPS = 16  # that fit half a page side by side
_SMALLEST, _SMALL, _LARGEST = 0.22, 0.4, 1.0  # inches, the side of the picture of a mask; below small where many
_MARGIN = 0.3  # inches beside the pictures
_TEXT, _LITTLE_TEXT = 0.17, 0.125  # inches, the height of a line of text above or below large and small pictures

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
    grid = _MaskGrid.of(len(weights), len(sets), width, plan.room) if sets else None
    plan = plan if grid is None else plan._replace(masks=grid.height)
    height = plan.height if height is None else check_positive(height, "height")
    figure = SelfShowingFigure(figsize=(width, height), layout="constrained")
    axes = plan.axes(figure)
    one = next(iter(sets.values())) if len(sets) == 1 else None
    draw_sensitivity(scores, masks=one, ax=axes[0], label=label)
    if len(sets) > 1:
        _mark_thresholds(axes[0], scores, sets)
    draw_sensitivity_scatter({name: scores[name] for name in weights}, ax=axes[1], num_points=num_points, seed=seed,
                             label=label)
    if grid is not None:
        _draw_masks(axes[2], grid, weights, sets, font=axes[0].xaxis.label.get_fontsize())
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * axes[0].xaxis.label.get_fontsize(), parse_math=False)
    return figure


def _sets(scores: Mapping[str, Tensor], masks: ManyMasks | None) -> dict[str, Mapping[str, Tensor]]:
    """Return checked masks by the name of their set; a set alone is named ""."""
    if masks is None:
        return {}
    several = isinstance(masks, Mapping) and masks and all(isinstance(entry, Mapping) for entry in masks.values())
    sets = dict(masks) if several else {"": masks}
    if len(sets) > _MOST_SETS:
        raise ArgumentError(f"`masks` must hold at most {_MOST_SETS} sets; got {len(sets)}. Plot fewer at once.")
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
        return _PAGE - self.height

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


class _MaskGrid(NamedTuple):
    """How the pictures of masks are arranged: lines of columns, each line with a row per set, in inches."""

    num_lines: int
    num_columns: int
    num_sets: int
    side: float
    gap: float
    text: float

    @classmethod
    def of(cls, num_masks: int, num_sets: int, width: float, highest: float) -> _MaskGrid:
        room, gap = width - _MARGIN, 0.05
        fewest = max(int(room / (_SMALL + gap)), 1)
        for num_columns in range(fewest, max(fewest, num_masks) + 1):
            num_lines = math.ceil(num_masks / num_columns)
            even = math.ceil(num_masks / num_lines)
            side = min(room / even - gap, _LARGEST)
            grid = cls(num_lines, even, num_sets, side, gap, _TEXT if side >= _SMALL else _LITTLE_TEXT)
            if grid.height <= highest or grid.side < _SMALLEST:
                break
        fitting = (highest / grid.num_lines - grid.text - gap) / num_sets - grid.text
        return grid._replace(side=min(grid.side, max(fitting, _SMALLEST)))

    @property
    def height(self) -> float:
        return self.num_lines * (self.num_sets * (self.side + self.text) + self.text + self.gap)

    def box(self, index: int, row: int, width: float) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of the picture of mask `index` in set `row`, as shares of the panel."""
        line, column = divmod(index, self.num_columns)
        full = self.num_columns * (self.side + self.gap)
        left = max(width - full, 0) / 2 + column * (self.side + self.gap)
        top = line * self.height / self.num_lines + self.text + row * (self.side + self.text)
        return left / width, 1 - (top + self.side) / self.height, self.side / width, self.side / self.height


def _draw_masks(panel: Axes, grid: _MaskGrid, names: list[str], sets: Mapping[str, Mapping[str, Tensor]], *,
                font: float) -> None:
    """Draw a picture per set and mask on insets of `panel`, with the removed share below."""
    panel.set_axis_off()
    panel.set_label("masks")
    width = panel.get_window_extent().width / panel.figure.dpi
    shown = [elide(short_name(name)) for name in names]
    size = max(min(font - 1, 72 * grid.side / 4.2, 72 * grid.text / 1.6), LEAST_TYPE)
    fitting = 72 * (grid.side + grid.gap) / (0.6 * max(map(len, shown)))  # type that keeps the names apart
    for row, (key, masks) in enumerate(sets.items()):
        for index, name in enumerate(names):
            ax = panel.inset_axes(grid.box(index, row, width), label=f"{key} {name}".lstrip())
            draw_mask(masks[name], ax=ax, aspect="auto")
            ax.set_box_aspect(1)
            removed = float((~masks[name]).double().mean())
            ax.set_xlabel(f"{percent(removed)} %", fontsize=size, labelpad=1, color=INK)
            if row == 0 and fitting >= LEAST_TYPE:
                ax.set_title(shown[index], fontsize=min(size, fitting), pad=2, parse_math=False)
            elif row == 0 and index % grid.num_columns == 0:
                line = shown[index:index + grid.num_columns]
                heading = " to ".join(dict.fromkeys([line[0], line[-1]]))
                ax.set_title(heading, loc="left", fontsize=min(font - 1, 72 * grid.text / 1.5), pad=2, parse_math=False)
            if index % grid.num_columns == 0 and key:
                ax.set_ylabel(key, fontsize=size, labelpad=2, parse_math=False)


def _mark_thresholds(ax: Axes, scores: Mapping[str, Tensor], sets: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Mark the threshold of every set that has one by a line with its name above."""
    for key, masks in sets.items():
        threshold = threshold_of(check_scores(scores, masks))
        if threshold is None or (ax.get_xscale() == "log" and threshold <= 0):
            continue
        ax.axvline(threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=3, label=f"threshold {key}")
        ax.text(threshold, 1.01, key, transform=ax.get_xaxis_transform(), rotation=90, ha="center", va="bottom",
                fontsize=ax.xaxis.label.get_fontsize() - 1, parse_math=False)
