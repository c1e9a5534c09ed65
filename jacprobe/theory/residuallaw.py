"""Residual networks: the law of a product of I + X_l with independent branches, and moments where gates persist."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from jacprobe.errors import ArgumentError
from jacprobe.theory.bands import Band
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.product import product_law
from jacprobe.theory.spectrallaw import SpectralLaw

_POINTS = 256
_TABLE = 2000
_MOST_STEPS = 20


def residual_edges(gain: float) -> tuple[float, float]:
    """Return the least and largest singular value of a deep residual network ``x + phi(W x + b)``.

    Parameters
    ----------
    gain
        c, the sum over the layers of ``sigma_w2 E[phi'^2]`` of their branches, each of which is small.

    Raises
    ------
    ArgumentError
        `gain` is not positive and finite.

    References
    ----------
    Tarnowski et al. 2019, Dynamical isometry is achieved in residual networks in a universal way for any activation
    function.

    Examples
    --------
    >>> [round(edge, 4) for edge in residual_edges(0.25)]
    [0.486, 2.0577]
    """
    _check(gain)
    root = math.sqrt(1 + 2 / gain)
    moments = (-1 - root) / 2, (-1 + root) / 2
    return tuple(math.exp((math.log((1 + m) / m) + gain * (1 + 2 * m)) / 2) for m in moments)


def residual_law(gain: float) -> SpectralLaw:
    """Return the law of the singular values of a deep residual network whose layers have fresh gates.

    Parameters and errors as for ``residual_edges``. The law is the same for Gaussian and orthogonal weights and any
    activation; its relative variance is 2 gain. Pre-activation networks, whose gates persist along the depth, follow
    another law: see ``persistent_gates_variance``.

    Examples
    --------
    >>> law = residual_law(0.25)
    >>> round(law.relative_variance, 6), round(law.mean_square, 6)  # 2 c and exp(c)
    (0.5, 1.284025)
    """
    low, high = (2 * math.log(edge) for edge in residual_edges(gain))
    return SpectralLaw((), (Band.sampled(lambda t: _density(t, gain), low, high, least=_POINTS, most=_POINTS),))


def residual_layers_law(depth: int, branch_gain: float, *, width: int = 1) -> SpectralLaw:
    """Return the law of ``depth`` layers ``I + X`` with Gaussian linear branches of gain `branch_gain` each.

    A layer is a masked orthogonal one with kept energy ``1 / (1 + branch_gain)``: exact at every depth.

    Raises
    ------
    ArgumentError
        `depth` is no positive integer, or `branch_gain` is not positive and finite.

    Examples
    --------
    >>> round(residual_layers_law(4, 0.25).s_max, 4)
    3.7225
    """
    _check(branch_gain, "branch_gain")
    if isinstance(depth, bool) or int(depth) != depth or depth < 1:
        raise ArgumentError(f"`depth` must be a positive integer; got {depth!r}. It counts the layers.")
    return product_law([LayerLaw(width, width, 1 / (1 + branch_gain), 1 + branch_gain)] * int(depth))


def persistent_gates_variance(gain: float, slope_ratio: float) -> float:
    """Return the relative variance of s^2 of a pre-activation network ``h + W phi(h)``, whose gates persist.

    Parameters
    ----------
    gain
        As for ``residual_edges``.
    slope_ratio
        ``E[phi'^4] / E[phi'^2]^2``: 2 for ReLU, 1 for a linear layer, where the formula is that of fresh gates.

    Raises
    ------
    ArgumentError
        `gain` is not positive and finite, or `slope_ratio` under 1.

    Examples
    --------
    >>> round(persistent_gates_variance(0.25, 2.0), 3)
    0.558
    """
    _check(gain)
    if not (math.isfinite(slope_ratio) and slope_ratio >= 1):
        raise ArgumentError(f"`slope_ratio` must be at least 1; got {slope_ratio!r}. It is E[phi'^4] / E[phi'^2]^2.")
    return 2 * slope_ratio * gain + 2 * (slope_ratio - 1) * math.expm1(-gain)


def _density(t: NDArray, gain: float) -> NDArray:
    """Return the density over t = log s^2, which is y / pi on the curve ``M = -1/2 + u - i y`` with real z(M).

    The imaginary part of ``log z = log((1 + M) / M) + c (1 + 2 M)`` vanishes where the segment from -1/2 to 1/2 is seen
    from (u, y) at the angle 2 c y, so that u^2 is explicit; Newton's method goes from that table to the points t.
    """
    def square(y: NDArray | float) -> NDArray | float:
        return 0.25 - y**2 + y / np.tan(2 * gain * y)

    largest = brentq(square, 1e-9 / gain, (np.pi - 1e-9) / (2 * gain), xtol=1e-15)
    y = largest * np.sin(np.linspace(1e-5, np.pi / 2, _TABLE))
    u = np.sqrt(np.maximum(square(y), 0))
    right = np.log(np.abs((u + 0.5 - 1j * y) / (u - 0.5 - 1j * y))) + 2 * gain * u  # falls with y
    table_t = np.concatenate([-right, right[-2::-1]])
    table_m = np.concatenate([-u, u[-2::-1]]) - 0.5 - 1j * np.concatenate([y, y[-2::-1]])
    moment = np.interp(t, table_t, table_m)
    for _ in range(_MOST_STEPS):
        residual = np.log(1 + moment) - np.log(-moment) + 1j * np.pi + gain * (1 + 2 * moment) - t
        change = -residual / (1 / (1 + moment) - 1 / moment + 2 * gain)
        moment = moment + change
        if np.abs(change).max() < 1e-13 * np.abs(moment).max():
            break
    return np.maximum(-moment.imag / np.pi, 0.0)


def _check(gain: float, name: str = "gain") -> None:
    if not (math.isfinite(gain) and gain > 0):
        raise ArgumentError(f"`{name}` must be positive and finite; got {gain!r}. It is sigma_w2 E[phi'^2] of a "
                            "branch, or their sum.")
