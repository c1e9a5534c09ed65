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

from jacprobe.plotting.arguments import check_positive, check_whole
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import name_ticks, value_ticks
from jacprobe.plotting.artists.words import plain_number, short_name
from jacprobe.plotting.sensitivity.scores import check_scores

_SHADES = 0.1, 0.78  # of the map: dark to light as in the paper, neither black nor white
_JITTER = 0.36  # half of the width of a strip of points, in slots
_SHOWN = 0.98  # share of the points of the highest strip that lie on the axis, where no limit is given


def sensitivity_points(scores: Mapping[str, Tensor], *, num_points: int = 950, seed: int = 0) -> pd.DataFrame:
    """Return the points that ``draw_sensitivity_scatter`` draws: at most `num_points` of each parameter.

    They are drawn without replacement, and jittered about the position of their parameter.

    Parameters
    ----------
    scores
        As for ``sensitivity_data``.
    num_points
        Points per parameter; all of a smaller one.
    seed
        Of the choice and of the jitter. The points of a parameter do not depend on the parameters after it.

    Returns
    -------
    DataFrame
        Columns: parameter; index, into the flattened parameter, increasing; position, 0, 1, ... plus the jitter; score.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, or `num_points` or `seed` is no such number.
    """
    scored = check_scores(scores, None)
    check_whole(num_points, "num_points", 1, 950)
    check_whole(seed, "seed", 0, 0)
    rng = np.random.default_rng(seed)
    rows = []
    for position, (name, (values, _)) in enumerate(scored.items()):
        index = np.sort(rng.choice(values.size, min(num_points, values.size), replace=False))
        jitter = rng.uniform(-_JITTER, _JITTER, index.size)
        rows.append(pd.DataFrame({"parameter": name, "index": index, "position": position + jitter,
                                  "score": values[index]}))
    return pd.concat(rows, ignore_index=True)


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
    name_ticks(ax, range(len(names)), [short_name(str(name)) for name in names], sizes)
    value_ticks(ax, log=False, font=sizes.font)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
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
