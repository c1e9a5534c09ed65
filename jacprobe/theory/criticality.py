"""The edge of chaos: weights and biases with which gradients neither vanish nor explode in a wide deep network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.theory.activations import Activation, activation
from jacprobe.theory.gaussian import check_length
from jacprobe.theory.meanfield import Spec, depth_scale

_SMALLEST, _LARGEST = 1e-8, 1e8  # lengths searched
_STILL = 1e-12  # of q: a bias variance this small is rounding


@dataclass(frozen=True)
class CriticalPoint:
    """A point of the critical line chi_1 = 1.

    Attributes
    ----------
    sigma_w2, sigma_b2
        Variance of the weights times their fan-in, and of the biases.
    q
        Length that the layers keep there. None where they keep every length (linear, ReLU, leaky ReLU).
    xi_q
        Layers in which a deviation of the length falls by e. inf where it stays or falls as a power; negative where it
        grows (GELU and SiLU at small q), so that no network stays at this point.
    """

    sigma_w2: float
    sigma_b2: float
    q: float | None
    xi_q: float


def critical_point(phi: Spec, *, sigma_b2: float | None = None, q: float | None = None) -> CriticalPoint:
    """Return the critical point with a given variance of the biases, or with a given length.

    Parameters
    ----------
    phi
        Activation: a name, module or function, as for ``activation``.
    sigma_b2, q
        Exactly one of them, at least 0.

    Raises
    ------
    UnknownNameError, DtypeError
        No such activation.
    ArgumentError
        Not exactly one of them, one out of its domain, or no such point: ReLU has none with a bias.

    References
    ----------
    Schoenholz et al. 2017 (arXiv 1611.01232), section 3; Pennington et al. 2017 (arXiv 1711.04735), section 2.2:
    along the line sigma_w2 = 1 / E[phi'^2] and sigma_b2 = q - sigma_w2 E[phi^2].

    Examples
    --------
    >>> point = critical_point("tanh", sigma_b2=0.05)
    >>> round(point.sigma_w2, 8), round(point.q, 7)
    (1.76095464, 0.5700479)
    >>> critical_point("relu", sigma_b2=0.0)
    CriticalPoint(sigma_w2=2.0, sigma_b2=0.0, q=None, xi_q=inf)
    """
    phi = activation(phi)
    if (sigma_b2 is None) == (q is None):
        given = "neither" if q is None else "both"
        raise ArgumentError(f"`sigma_b2` or `q` must be given, and only one; got {given}. Pass sigma_b2=0.05, say.")
    if q is not None:
        check_length("q", q)
        return _point_of_length(phi, float(q))
    check_length("sigma_b2", sigma_b2)
    if _keeps_every_length(phi):
        if sigma_b2 > 0:
            raise ArgumentError(f"`sigma_b2` must be 0 for {phi.name}; got {sigma_b2}. It has no critical point with a"
                                f" bias: where chi_1 = 1 (sigma_w2 = {1 / phi.slope_moment(1.0):.6g}) each layer adds"
                                " sigma_b2 to the length, without end.")
        return CriticalPoint(1 / phi.slope_moment(1.0), 0.0, None, math.inf)
    return _point_of_bias(phi, float(sigma_b2))


def critical_line(phi: Spec, *, q: Iterable[float]) -> tuple[CriticalPoint, ...]:
    """Return the critical points with the lengths `q`, in their order.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        As for ``critical_point``.

    Examples
    --------
    >>> [round(point.sigma_w2, 6) for point in critical_line("tanh", q=[0.1, 0.5, 1.0])]
    [1.177569, 1.687975, 2.153303]
    """
    phi = activation(phi)
    return tuple(critical_point(phi, q=length) for length in q)


def gain(phi: Spec, *, q: float | None = None, sigma_b2: float | None = None) -> float:
    """Return sigma_w with which a layer's Jacobian has mean squared singular value 1: 1 / sqrt(E[phi'^2]).

    An orthogonal matrix times this gain, before the activation, is as near to an isometry as the activation lets it be
    in mean square.

    Parameters
    ----------
    phi
        As for ``critical_point``.
    q
        Length of the pre-activations. None serves where it does not matter (linear, ReLU, leaky ReLU).
    sigma_b2
        Instead of `q`: that of the critical point with this variance of the biases.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        As for ``critical_point``; neither is given though it matters; a slope that is 0.

    Examples
    --------
    >>> round(gain("relu") ** 2, 12), round(gain("tanh", q=0.1) ** 2, 7)
    (2.0, 1.1775691)
    """
    phi = activation(phi)
    if q is None and sigma_b2 is None and _keeps_every_length(phi):
        q = 1.0
    if q is None:
        return math.sqrt(critical_point(phi, sigma_b2=sigma_b2).sigma_w2)
    if sigma_b2 is not None:
        raise ArgumentError("`sigma_b2` or `q` must be given, and only one; got both. Leave one out.")
    check_length("q", q)
    return math.sqrt(_critical_weights(phi, q))


def _critical_weights(phi: Activation, q: float) -> float:
    moment = phi.slope_moment(q)
    if not moment:
        raise ArgumentError(f"`activation` must have a slope at lengths near {q:.6g}; got {phi.name}, which is flat"
                            " there. No weights carry a gradient through it.")
    return 1 / moment


def _bias(phi: Activation, q: float) -> float:
    """Return the variance of the biases with which the critical weights keep the length `q`, 0 for rounding."""
    bias = q - _critical_weights(phi, q) * phi.second_moment(q)
    return 0.0 if abs(bias) <= _STILL * q else bias


def _point_of_length(phi: Activation, q: float) -> CriticalPoint:
    sigma_w2, sigma_b2 = _critical_weights(phi, q), _bias(phi, q)
    if sigma_b2 < 0:
        raise ArgumentError(f"`q` must be a length that a critical network keeps; got {q} for {phi.name}, which would"
                            f" need sigma_b2 = {sigma_b2:.6g} < 0. Use another length, or gain(..., q={q}) for the"
                            " weights alone.")
    rate = sigma_w2 * phi.second_moment_slope(q) if q else 1.0
    return CriticalPoint(sigma_w2, sigma_b2, q, depth_scale(rate))


def _keeps_every_length(phi: Activation) -> bool:
    """Tell whether phi is a straight line on each side of 0, so that V(q) / q and E[phi'^2] are equal for all q."""
    return all(_bias(phi, q) == 0 for q in (1e-4, 1.0, 1e4))


def _point_of_bias(phi: Activation, sigma_b2: float) -> CriticalPoint:
    roots = _lengths_of_bias(phi, sigma_b2)
    if sigma_b2 == 0 == phi.second_moment(0.0) and phi.slope_moment(0.0):
        roots = [0.0, *roots]
    if len(roots) > 1:
        shown = ", ".join(f"{root:.6g}" for root in roots)
        raise ArgumentError(f"`q` must be given for {phi.name} with sigma_b2 = {sigma_b2}, which has critical points at"
                            f" the lengths {shown}; got None. Pass one of them as q instead.")
    if not roots:
        raise ArgumentError(f"`sigma_b2` must be one for which {phi.name} has a critical point; got {sigma_b2}: no"
                            f" length in [{_SMALLEST:g}, {_LARGEST:g}] stays where chi_1 = 1. gain(..., q=...) gives"
                            " the weights for one length.")
    point = _point_of_length(phi, roots[0])
    return CriticalPoint(point.sigma_w2, sigma_b2, point.q, point.xi_q)


def _lengths_of_bias(phi: Activation, sigma_b2: float) -> list[float]:
    """Return the lengths that critical weights keep with this bias, found on a grid of powers of 2."""
    def excess(q: float) -> float:
        return _bias(phi, q) - sigma_b2

    found, last = [], None
    for q in _SMALLEST * 2.0 ** np.arange(math.ceil(math.log2(_LARGEST / _SMALLEST)) + 1):
        try:
            value = excess(float(q))
        except (ArgumentError, NonFiniteError):  # no moments of so large a length, or lost in rounding below any
            if last:
                break
            continue
        if last and value * last[1] < 0:
            found.append(math.exp(brentq(lambda log_q: excess(math.exp(log_q)), math.log(last[0]), math.log(q),
                                         xtol=1e-14)))
        if value:  # a bias that is 0 up to rounding is no root: the sign before it counts on
            last = (float(q), value)
    return found
