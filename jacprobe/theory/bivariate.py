"""Means of f(u1) f(u2) over two correlated normal variables, for functions that are smooth between kinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from jacprobe.theory.quadrature import REACH, gaussian_mean, integrate, normal_density, panel_nodes, starting_edges

_EQUAL = 1e-14  # of q22: below this the second variable is a multiple of the first, as far as rounding tells
_WINDOW = REACH * np.array([-1, -0.6, -0.3, 0, 0.3, 0.6, 1])
_MOST_POINTS = 2_000_000  # evaluated at once


def bivariate_mean(
    function: Callable[[np.ndarray], np.ndarray], q11: float, q22: float, q12: float, kinks: Iterable[float] = ()
) -> float:
    """Return E[f(u1) f(u2)] of normal variables of variances `q11`, `q22` > 0 and covariance `q12`.

    The second variable is integrated given the first, over panels split where f is rough; the first adaptively.

    Raises
    ------
    ArgumentError
        The mean is infinite, or the function too rough.

    Examples
    --------
    >>> round(bivariate_mean(np.sin, 1.0, 2.0, 0.5), 12) == round(math.exp(-1.5) * math.sinh(0.5), 12)
    True
    """
    kinks = np.fromiter(kinks, float)
    ratio, spread = q12 / q11, q22 - q12**2 / q11
    if spread <= _EQUAL * q22:
        ratio = math.copysign(math.sqrt(q22 / q11), q12)
        return float(gaussian_mean(lambda x: (function(x) * function(ratio * x))[None], q11,
                                   [*kinks, *kinks / ratio])[0])
    deviation = math.sqrt(spread)
    _, rough, size = _resolved(function, q22, kinks)
    size = size * _resolved(function, q11, kinks)[2]  # rounding of the inner mean is of this order

    def integrand(x: np.ndarray) -> np.ndarray:
        inner = _conditional_mean(function, ratio * x.ravel(), deviation, rough).reshape(x.shape)
        return (function(x) * inner * normal_density(x, q11))[None]

    edges = np.concatenate([starting_edges(q11, kinks), _seen_edges(q22, ratio, deviation, kinks)])
    edges = np.unique(edges[abs(edges) <= REACH * math.sqrt(q11)])
    return float(integrate(integrand, edges, least_scale=float(size[0]))[0][0])


def _resolved(
    function: Callable[[np.ndarray], np.ndarray], q: float, kinks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean, the edges of panels on each of which the nodes resolve the function, and the mean absolute."""
    return integrate(lambda x: function(x)[None] * normal_density(x, q), starting_edges(q, kinks))


def _seen_edges(q: float, ratio: float, deviation: float, kinks: np.ndarray) -> np.ndarray:
    """Return edges for the mean of the second factor given the first variable: its kinks are smoothed over a
    `deviation` and, like its scale, seen through the `ratio`.
    """
    if not ratio:
        return kinks[:0]
    steps = deviation * 4.0 ** np.arange(0, max(math.ceil(math.log(REACH * math.sqrt(q) / deviation, 4)), 0) + 1)
    around = (kinks[:, None] + np.concatenate([-steps, [0.0], steps])).ravel() / ratio
    return around if 0.5 < abs(ratio) < 2 else np.concatenate([around, starting_edges(q) / ratio])


def _conditional_mean(
    function: Callable[[np.ndarray], np.ndarray], means: np.ndarray, deviation: float, rough: np.ndarray
) -> np.ndarray:
    """Return E[f(mean + deviation z)] for each of `means` (num,)."""
    size = max(1, _MOST_POINTS // (20 * (len(rough) + len(_WINDOW))))
    return np.concatenate([_conditional_chunk(function, means[start : start + size], deviation, rough)
                           for start in range(0, len(means), size)])


def _conditional_chunk(
    function: Callable[[np.ndarray], np.ndarray], means: np.ndarray, deviation: float, rough: np.ndarray
) -> np.ndarray:
    window = means[:, None] + deviation * _WINDOW
    inside = np.clip(rough, window[:, :1], window[:, -1:])  # edges outside become panels of width 0
    edges = np.sort(np.concatenate([window, inside], axis=1), axis=1)
    row, panel = np.nonzero(np.diff(edges, axis=1) > 0)
    points, weights = panel_nodes(edges[row, panel], edges[row, panel + 1])
    density = normal_density(points - means[row, None], deviation**2)
    return np.bincount(row, (function(points) * density * weights).sum(-1), minlength=len(means))
