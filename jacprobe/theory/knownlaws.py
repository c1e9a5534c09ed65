"""Laws and edges in closed form: the exact answers that the solver is held against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from jacprobe.errors import ArgumentError


def fuss_catalan_edge(depth: int) -> float:
    """Return the largest singular value of a product of `depth` square Gaussian matrices of mean square 1.

    Raises
    ------
    ArgumentError
        `depth` is no positive integer.

    Examples
    --------
    >>> fuss_catalan_edge(2) ** 2
    6.75
    """
    depth = _depth(depth)
    return math.exp(((depth + 1) * math.log(depth + 1) - depth * math.log(depth)) / 2)


def fuss_catalan_density(s: ArrayLike, depth: int) -> NDArray[np.float64]:
    """Return the density over s of the singular values of a product of `depth` square Gaussian matrices.

    Raises
    ------
    ArgumentError
        `depth` is no positive integer.

    References
    ----------
    Penson and Zyczkowski 2011, Product of Ginibre matrices: Fuss-Catalan and Raney distributions.

    Examples
    --------
    >>> fuss_catalan_density([1.0], 1).round(8)  # the quarter circle, sqrt(4 - s^2) / pi
    array([0.5513289])
    """
    depth, s = _depth(depth), np.asarray(s, dtype=np.float64)
    edge = fuss_catalan_edge(depth)
    density = np.zeros(s.shape)
    inside = (s > 0) & (s < edge)
    density[inside] = [_fuss_catalan_at(float(value), depth) for value in s[inside]]
    return density


def bernoulli_edge(live: float, depth: int, *, weight: str = "gaussian") -> float:
    """Return the upper end of the bands for slopes 0 or 1 at criticality, `live` the share of ones.

    For orthogonal weights and ``depth (1 - live) < 1`` an atom of mass ``1 - depth (1 - live)`` stands above, at
    ``live^(-depth / 2)``.

    Raises
    ------
    ArgumentError
        `live` is outside (0, 1], `depth` no positive integer, or `weight` neither "gaussian" nor "orthogonal".

    References
    ----------
    Pennington, Schoenholz and Ganguli 2018, section 4.

    Examples
    --------
    >>> round(bernoulli_edge(0.5, 8, weight="orthogonal") ** 2, 8)
    20.37199758
    """
    depth = _depth(depth)
    if not 0 < live <= 1:
        raise ArgumentError(f"`live` must lie in (0, 1]; got {live!r}. For ReLU it is 0.5.")
    if weight == "orthogonal":
        if depth == 1:
            return math.sqrt(1 / live)
        logs = depth * math.log(depth) - (depth - 1) * math.log(depth - 1)
        return math.sqrt((1 - live) / live) * math.exp(logs / 2)
    if weight != "gaussian":
        raise ArgumentError(f"`weight` must be 'gaussian' or 'orthogonal'; got {weight!r}. Others have no "
                            "closed form: use `product_law`.")
    top = (-(depth - 1) + math.sqrt((depth - 1) ** 2 + 4 * depth * live)) / (2 * depth)
    return math.exp((math.log1p(top) - math.log(top) + depth * (math.log(top + live) - math.log(live))) / 2)


def masked_orthogonal_edges(kept_energy: float) -> tuple[float, float]:
    """Return the least and the largest singular value of a masked orthogonal matrix, rescaled to mean square 1.

    The least is 0 up to a kept energy of 1/2.

    Raises
    ------
    ArgumentError
        `kept_energy` is outside [0, 1].

    Examples
    --------
    >>> low, high = masked_orthogonal_edges(0.75)
    >>> round(low, 12), round(high**2, 12)
    (0.25, 2.666666666667)
    """
    e = kept_energy
    if not 0 <= e <= 1:
        raise ArgumentError(f"`kept_energy` must lie in [0, 1]; got {e!r}. It is the share of the squared norm.")
    if e in (0, 1):
        return (0.0, 2.0) if e == 0 else (1.0, 1.0)
    offset, spread = 1 - 2 * e, math.sqrt((1 - e) * (1 + 7 * e))

    def edge(sign: int) -> float:
        root = (1 + e + sign * spread) / 2
        return math.sqrt((root - offset) ** 2 * (root + offset) / (4 * e * (root - 1)))

    return (edge(-1) if e > 0.5 else 0.0), edge(1)


def _fuss_catalan_at(s: float, depth: int) -> float:
    """Return the density at one s inside, by the angle that parametrises it."""
    end = math.pi / (depth + 1)

    def log_square(angle: float) -> float:
        sines = math.log(math.sin((depth + 1) * angle)), math.log(math.sin(angle)), math.log(math.sin(depth * angle))
        return (depth + 1) * sines[0] - sines[1] - depth * sines[2] if depth > 1 else 2 * (sines[0] - sines[1])

    target = 2 * math.log(s)
    small = 1e-7 * end
    if target >= log_square(small):
        return 0.0
    angle = brentq(lambda angle: log_square(angle) - target, small, end * (1 - 1e-15), xtol=1e-15, rtol=1e-14)
    # of log s^2: x rho(x), with the powers that cancel left out
    rate = math.sin(angle) * math.sin((depth + 1) * angle) / math.sin(depth * angle) / math.pi
    return 2 * rate / s


def _depth(depth: int) -> int:
    if isinstance(depth, bool) or int(depth) != depth or depth < 1:
        raise ArgumentError(f"`depth` must be a positive integer; got {depth!r}. It counts the layers.")
    return int(depth)
