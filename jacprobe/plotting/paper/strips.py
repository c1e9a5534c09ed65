"""Scores by layer as strips of points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.plotting.paper.frames import thick_frame, times_ten
from jacprobe.plotting.paper.tiles import array_of

_HALF = 0.2  # width of half a strip, in slots


@dataclass(frozen=True)
class Strips:
    """Scores of a network by layer, all of them, and the places and heights of the points drawn."""

    scores: Mapping[str, np.ndarray]
    drawn: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @property
    def top(self) -> float:
        """The largest score."""
        return max(float(values.max()) for values in self.scores.values())

    def share_above(self, value: float) -> float:
        """Return the share of all scores above `value`."""
        return sum(int((s > value).sum()) for s in self.scores.values()) / sum(s.size for s in self.scores.values())


def score_strips(scores: Mapping[object, object], *, points: int, seed: int) -> Strips:
    """Return the scores of one network, checked, and at most `points` a layer with their places beside the middle."""
    if isinstance(points, bool) or not isinstance(points, Integral) or points < 1:
        raise ArgumentError(f"`points` must be a whole number of at least 1; got {points!r}. Leave it out.")
    if not scores:
        raise ArgumentError("`scores` must hold at least one layer of each network; got none. Leave the network out.")
    generator = np.random.default_rng(seed)
    flat = {str(layer): _flat(values) for layer, values in scores.items()}
    drawn = {}
    for layer, values in flat.items():
        chosen = generator.permutation(values)[:points]
        drawn[layer] = (generator.uniform(-_HALF, _HALF, len(chosen)), chosen)
    return Strips(flat, drawn)


def _flat(values: object) -> np.ndarray:
    array = array_of(values)
    if array.dtype.kind not in "fiu":
        raise DtypeError(f"`scores` must hold real numbers; got {array.dtype}. Take the scores of one layer.")
    if not array.size:
        raise ShapeError(f"`scores` must hold scores for each layer; got shape {array.shape}. Leave that layer out.")
    if not np.isfinite(array).all() or array.min() < 0:
        wrong = array[~np.isfinite(array) | (array < 0)][0]
        raise NonFiniteError(f"`scores` must hold finite numbers of at least 0; got {wrong:g}. Take absolute values.")
    return array.ravel().astype(float)


def draw_strips(ax: Axes, strips: Strips, *, top: float, font: float) -> None:
    """Draw a strip of points per layer on `ax`, dark to light with depth, from 0 to `top`; say what lies above."""
    shades = seaborn.cubehelix_palette(len(strips.drawn), reverse=True, light=0.72)
    for slot, ((layer, (places, values)), shade) in enumerate(zip(strips.drawn.items(), shades, strict=True)):
        ax.scatter(slot + places, values, s=(0.2 * font) ** 2, color=[shade], linewidths=0, alpha=0.75, zorder=2,
                   label=f"_{layer}")
    thick_frame(ax, font=font)
    exponent = math.floor(math.log10(top))
    ax.set(xlim=(-0.6, len(strips.drawn) - 0.4), ylim=(-0.02 * top, top))
    ax.set_xticks(range(len(strips.drawn)), list(strips.drawn), parse_math=False)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**exponent:.4g}"))
    ax.set_ylabel(f"connection sensitivity{times_ten(exponent)}", fontsize=font, labelpad=0.4 * font)
    above = strips.share_above(top)
    ax.set_xlabel(f"layer\n{100 * above:.2g} % lie above" if above else "layer", fontsize=font, labelpad=0.3 * font)
