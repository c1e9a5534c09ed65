"""Connection sensitivities as points, a strip per parameter: the paper's Fig. 1."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from jacprobe.plotting.sensitivitydata import sensitivity_points
from jacprobe.plotting.style import LEAST_TYPE, Sizes, axes_of, check_positive, name_ticks, plain_number, short_name

_SHADES = 0.1, 0.78  # of the map: dark to light as in the paper, neither black nor white
_SHOWN = 0.98  # share of the points of the highest strip that lie on the axis, where no limit is given


def draw_sensitivity_scatter(
    scores: Mapping[str, Tensor],
    *,
    ax: Axes | None = None,
    num_points: int = 950,
    seed: int = 0,
    limit: float | None = None,
    unit: float | None = None,
    label: str = "connection sensitivity",
) -> Axes:
    """Draw scores as points in a strip per parameter, from the first at the left, and return the Axes.

    Of a large parameter a random part is drawn. Triangles at the top mark strips with drawn points above the axis.

    Parameters
    ----------
    scores
        Real tensors by parameter name, such as `jacprobe.scores` returns.
    ax
        Where to draw; a new figure without pyplot if None.
    num_points
        Points per parameter; all of a smaller one.
    seed
        Of the choice of points and of their jitter.
    limit
        Upper end of the axis, as a score; 3e-5 in the paper. By default 98 % of the points of each strip lie below.
    unit
        Score that is 1 on the axis; by default the power of ten that gives its end one digit, 1e-5 in the paper.
    label
        What the scores are.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, `limit` or `unit` is not positive, or `num_points` or `seed` no such number.

    See Also
    --------
    sensitivity_points : the points that are drawn.

    References
    ----------
    Lee et al. 2020, Fig. 1.

    Examples
    --------
    >>> import torch
    >>> ax = draw_sensitivity_scatter({"fc1.weight": torch.tensor([1e-5, 3e-5])}, limit=3e-5)
    >>> ax.get_ylabel(), float(ax.get_ylim()[1])
    ('connection sensitivity, 1e-5', 3.0)
    """
    points = sensitivity_points(scores, num_points=num_points, seed=seed)
    limit = _limit(points) if limit is None else check_positive(limit, "limit")
    unit = 10.0 ** math.floor(math.log10(limit) + 1e-9) if unit is None else check_positive(unit, "unit")
    ax = axes_of(ax)
    names = list(scores)
    sizes = Sizes.of(ax, len(names) + 0.2, 1)
    shades = seaborn.color_palette("rocket", as_cmap=True)(np.linspace(*_SHADES, len(names)))
    colors = dict(zip(names, map(tuple, shades), strict=True))
    dot = sizes.line(0.03, 0.9, 1.6)
    for position, (name, part) in enumerate(points.groupby("parameter", sort=False)):
        shown = part[part["score"] <= limit]
        ax.scatter(shown["position"], shown["score"] / unit, s=dot**2, color=[colors[name]], linewidth=0,
                   rasterized=True, label=name)
        if len(shown) < len(part):
            ax.scatter([position], [0.985], s=sizes.line(0.2, 3, 6) ** 2, marker="^", color=[colors[name]],
                       edgecolor="white", linewidth=0.5, transform=ax.get_xaxis_transform(), zorder=4,
                       label="above the axis")
    low = min(0.0, points["score"].min() / unit)
    ax.set(xlim=(-0.6, len(names) - 0.4), ylim=(low, limit / unit), xlabel="")
    ax.set_ylabel(label + _in_units(unit), fontsize=sizes.font)
    named = range(0, len(names), math.ceil(LEAST_TYPE / sizes.slot))  # of many strips every second or third
    name_ticks(ax, list(named), [short_name(str(names[index])) for index in named], sizes)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.tick_params(axis="y", labelsize=sizes.font)
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _in_units(unit: float) -> str:
    if unit == 1:
        return ""
    power = round(math.log10(unit))
    return f", 1e{power}" if math.isclose(unit, 10.0**power) else f", {plain_number(unit)}"


def _limit(points: pd.DataFrame) -> float:
    """Return an upper end that shows most points of every strip, or all where that is little more."""
    most, all_of_them = points.groupby("parameter")["score"].quantile(_SHOWN).max(), points["score"].max()
    limit = all_of_them if all_of_them <= 1.5 * most else most
    return float(1.03 * limit) if limit > 0 else 1.0
