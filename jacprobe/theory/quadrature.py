"""Gaussian integrals of functions that are smooth between kinks: adaptive Gauss-Legendre panels.

Panels live on the axis of x = sqrt(q) z, where an activation has its own scale whatever q is. Gauss-Hermite nodes would
live on the axis of z, where the poles of tanh come close for large q: with 200 nodes it errs by 1e-2 at q = 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from jacprobe.errors import ArgumentError

REACH = 10.0  # standard deviations; the normal mass beyond is 2e-23
TOLERANCE = 1e-13  # of the integral of the absolute value, per panel
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_MOST_HALVINGS = 90  # a jump that is no known kink takes about 45
_MOST_PANELS = 20_000

Integrand = Callable[[np.ndarray], np.ndarray]  # (...,) points -> (num_integrals, ...) values


def gaussian_mean(function: Integrand, q: float, kinks: Iterable[float] = ()) -> np.ndarray:
    """Return the means of `function` of a normal variable of variance `q` > 0.

    Parameters
    ----------
    function
        Of points (...,); returns (num_integrals, ...).
    q
        Variance.
    kinks
        Points where a derivative may jump.

    Returns
    -------
    ndarray (num_integrals,)
        Relative to the mean of the absolute value, accurate to about 1e-13.

    Raises
    ------
    ArgumentError
        A mean is infinite, or the function too rough.

    Examples
    --------
    >>> gaussian_mean(lambda x: np.stack([x**2, abs(x)]), 4.0, kinks=[0.0]).round(12)
    array([4.        , 1.59576912])
    """
    return integrate(lambda x: function(x) * normal_density(x, q), starting_edges(q, kinks))[0]


def gaussian_rule(function: Integrand, q: float, kinks: Iterable[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights, summing to 1, that integrate `function` against a normal law of variance `q` > 0.

    Parameters and errors as for ``gaussian_mean``.

    Examples
    --------
    >>> nodes, weights = gaussian_rule(lambda x: np.stack([x**6]), 1.0)
    >>> round(float(weights @ nodes**6), 10)
    15.0
    """
    edges = integrate(lambda x: function(x) * normal_density(x, q), starting_edges(q, kinks))[1]
    nodes, weights = panel_nodes(edges[:-1], edges[1:])
    weights = weights * normal_density(nodes, q)
    return nodes.ravel(), weights.ravel() / weights.sum()


def normal_density(x: np.ndarray, q: float) -> np.ndarray:
    """Return the density of a normal variable of variance `q`."""
    return np.exp(-x * x / (2 * q)) / math.sqrt(2 * math.pi * q)


def starting_edges(q: float, kinks: Iterable[float] = ()) -> np.ndarray:
    """Return edges that grow by octaves from 0 and hold the kinks, so that no feature near 0 is stepped over."""
    end = REACH * math.sqrt(q)
    octaves = 2.0 ** np.arange(-2, max(math.ceil(math.log2(end)), -2) + 1)
    edges = np.concatenate([-octaves, [0.0], octaves, np.fromiter(kinks, float), end * np.linspace(-1, 1, 11)])
    return np.unique(edges[abs(edges) <= end])


def panel_nodes(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights (..., 20) of the panels from `lower` to `upper` (...,)."""
    half = (upper - lower)[..., None] / 2
    return (upper + lower)[..., None] / 2 + half * _NODES, half * _WEIGHTS


def integrate(
    integrand: Integrand, edges: np.ndarray, *, least_scale: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the integrals over all panels, the edges of the panels once each is accurate, and the integrals of the
    absolute values.

    A panel is halved until that changes no integral by more than ``TOLERANCE`` of that of the absolute value, or of
    `least_scale` where that is more.

    Raises
    ------
    ArgumentError
        The integrand does not fade at the ends, or halving does not settle it.
    """
    lower, upper = edges[:-1], edges[1:]
    coarse, _ = _panel_integrals(integrand, lower, upper)
    done, done_size, kept = np.zeros(len(coarse)), np.zeros(len(coarse)), [edges[-1:]]
    for _ in range(_MOST_HALVINGS):
        middle = (lower + upper) / 2
        left, left_size = _panel_integrals(integrand, lower, middle)
        right, right_size = _panel_integrals(integrand, middle, upper)
        scale = (done_size + left_size.sum(-1) + right_size.sum(-1))[:, None].clip(least_scale)
        settled = (abs(left + right - coarse) <= TOLERANCE * scale).all(0)
        done += (left + right)[:, settled].sum(-1)
        done_size += (left_size + right_size)[:, settled].sum(-1)
        kept.append(lower[settled])
        rough = ~settled
        lower, upper = (np.concatenate(pair) for pair in ((lower[rough], middle[rough]), (middle[rough], upper[rough])))
        coarse = np.concatenate([left[:, rough], right[:, rough]], axis=-1)
        if not len(lower):
            _check_ends(integrand, edges, scale[:, 0])
            return done, np.sort(np.concatenate(kept)), done_size
        if len(lower) > _MOST_PANELS:
            break
    raise ArgumentError("`activation` must have finite Gaussian moments of its values and slopes, and a slope that is"
                        f" smooth between few kinks; got one whose integral near x = {lower[0]:.6g} does not settle."
                        " Pass an activation that is smoother there.")


def _panel_integrals(integrand: Integrand, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the integrals (num_integrals, panels) of the integrand and of its absolute value."""
    nodes, weights = panel_nodes(lower, upper)
    values = integrand(nodes)
    return (values * weights).sum(-1), (abs(values) * weights).sum(-1)


def _check_ends(integrand: Integrand, edges: np.ndarray, scale: np.ndarray) -> None:
    """Refuse an integrand that does not fade where the panels end."""
    ends = abs(integrand(edges[[0, -1]])).max(-1) * (edges[-1] - edges[0])
    if (ends > 1e-11 * scale).any():
        raise ArgumentError("`activation` must grow slowly enough for its Gaussian moments; got one that is still large"
                            f" {REACH:g} standard deviations out, at x = {edges[-1]:.6g}. Use a smaller `q`.")
