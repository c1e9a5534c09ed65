"""Mean field of wide fully connected networks: how lengths, correlations and gradients pass one layer, and where they
settle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq

from jacprobe.errors import ArgumentError
from jacprobe.theory.activations import Activation, activation
from jacprobe.theory.gaussian import check_length
from jacprobe.theory.lengths import limit_of_lengths

_EDGE = 1e-9  # chi_1 this close to 1 is critical, as far as rounding tells
Spec = str | Activation | Callable


@dataclass(frozen=True)
class FixedPoint:
    """Where a wide random network settles: pre-activation length, correlation of two inputs, and the scales in layers.

    Attributes
    ----------
    q
        Length: mean square of the pre-activations.
    chi_1
        Factor by which the squared gradient grows per layer, and mean squared singular value of a layer's Jacobian.
    xi_q
        Layers in which a deviation of the length falls by e; inf where it falls slower than exponentially.
    c
        Correlation of two inputs. None where every correlation stays, as for smooth activations with q = 0.
    xi_c
        Layers in which a deviation of the correlation falls by e; inf at criticality, where it falls as a power.
    xi_grad
        Layers in which the squared gradient falls by e towards the input; negative where it grows, inf at criticality.
    phase
        "ordered" (chi_1 < 1), "critical" (|chi_1 - 1| <= 1e-9) or "chaotic".

    References
    ----------
    Poole et al. 2016 (arXiv 1606.05340), section 2; Schoenholz et al. 2017 (arXiv 1611.01232), sections 3 and 4.
    """

    q: float
    chi_1: float
    xi_q: float
    c: float | None
    xi_c: float
    xi_grad: float
    phase: str


def length_map(phi: Spec, q: float, *, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """Return the length of the next layer's pre-activations, sigma_w2 E[phi(u)^2] + sigma_b2 with u of variance `q`.

    Parameters
    ----------
    phi
        Activation: a name, module or function, as for ``activation``.
    q
        Mean square of a layer's pre-activations. That of the first is sigma_w2 |x|^2 / N_0 + sigma_b2.
    sigma_w2, sigma_b2
        Variance of the weights times their fan-in, positive, and of the biases.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    References
    ----------
    Poole et al. 2016 (arXiv 1606.05340), equation 3.

    Examples
    --------
    >>> length_map("relu", 1.0, sigma_w2=2.0, sigma_b2=0.5)
    1.5
    """
    phi = activation(phi)
    check_variances(sigma_w2, sigma_b2)
    return sigma_w2 * phi.second_moment(q) + sigma_b2


def correlation_map(
    phi: Spec, c: float, *, q: float | tuple[float, float], sigma_w2: float, sigma_b2: float = 0.0
) -> float:
    """Return the correlation of two inputs in the next layer.

    Parameters
    ----------
    phi, sigma_w2, sigma_b2
        As for ``length_map``.
    c
        Correlation of the pre-activations, in [-1, 1].
    q
        Their length, or the two lengths; positive.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    References
    ----------
    Poole et al. 2016 (arXiv 1606.05340), equation 5.

    Examples
    --------
    >>> round(correlation_map("relu", 0.0, q=1.0, sigma_w2=2.0), 9) == round(1 / math.pi, 9)
    True
    """
    phi = activation(phi)
    first, second = q if isinstance(q, tuple | list) else (q, q)
    check_length("q", first, positive=True)
    check_length("q", second, positive=True)
    check_variances(sigma_w2, sigma_b2)
    if not -1 <= c <= 1:
        raise ArgumentError(f"`c` must lie in [-1, 1]; got {c}. It is a correlation.")
    shared = sigma_w2 * phi.covariance(first, second, c * math.sqrt(first * second)) + sigma_b2
    lengths = [sigma_w2 * phi.second_moment(length) + sigma_b2 for length in (first, second)]
    if not all(lengths):
        raise ArgumentError(f"`activation` must not vanish; got {phi.name}, whose output is 0. Two zeros have no"
                            " correlation.")
    return shared / math.sqrt(lengths[0] * lengths[1])


def gradient_map(phi: Spec, q: float, *, sigma_w2: float, width_ratio: float = 1.0) -> float:
    """Return the factor of the mean squared gradient from a layer's pre-activations to those of the layer before.

    At the fixed point with equal widths it is chi_1.

    Parameters
    ----------
    phi, sigma_w2
        As for ``length_map``.
    q
        Length in the layer before.
    width_ratio
        Width of the layer over that of the layer before; the weights are scaled by fan-in.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    References
    ----------
    Schoenholz et al. 2017 (arXiv 1611.01232), section 4.

    Examples
    --------
    >>> gradient_map("relu", 1.0, sigma_w2=2.0, width_ratio=0.5)
    0.5
    """
    phi = activation(phi)
    check_variances(sigma_w2, 0.0)
    check_length("width_ratio", width_ratio, positive=True)
    return sigma_w2 * phi.slope_moment(q) * width_ratio


def fixed_point(phi: Spec, *, sigma_w2: float, sigma_b2: float = 0.0, start: float | None = None) -> FixedPoint:
    """Return where length and correlation settle in deep networks, and how fast.

    Parameters
    ----------
    phi, sigma_w2, sigma_b2
        As for ``length_map``.
    start
        Length of the first layer. Needed only where the limit depends on it, as for GELU with a small bias, or for
        ReLU with sigma_w2 = 2 and no bias, which keeps every length.

    Raises
    ------
    UnknownNameError, DtypeError
        No such activation.
    ArgumentError
        A number out of its domain; lengths that grow without end, or settle where only `start` decides.

    References
    ----------
    Poole et al. 2016, section 2; Schoenholz et al. 2017, section 3, equations 7 to 9. That c is unique on [0, 1]
    follows since C is a power series in c with coefficients at least 0 (Daniely et al. 2016, arXiv 1602.05897).

    Examples
    --------
    >>> point = fixed_point("tanh", sigma_w2=1.3, sigma_b2=0.05)
    >>> round(point.q, 8), round(point.chi_1, 8), round(point.xi_c, 6), point.phase
    (0.31531648, 0.88016351, 7.834069, 'ordered')
    """
    phi = activation(phi)
    check_variances(sigma_w2, sigma_b2)
    if start is not None:
        check_length("start", start, positive=True)
    q = limit_of_lengths(phi, sigma_w2, sigma_b2, start)
    chi_1 = sigma_w2 * phi.slope_moment(q)
    if q == 0:
        slopes = phi.one_sided_slopes()
        # a length map that starts at 0 has slope chi_1 there; unequal slopes on the two sides turn signals together
        c, rate_q, rate_c = (None if slopes[0] == slopes[1] else 1.0), chi_1, 1.0
    else:
        rate_q = sigma_w2 * phi.second_moment_slope(q)
        c = _correlation(phi, q, sigma_w2, sigma_b2, chi_1)
        rate_c = chi_1 if c == 1 else sigma_w2 * phi.slope_covariance(q, q, c * q)
    near = abs(chi_1 - 1) <= _EDGE
    phase = "critical" if near else "ordered" if chi_1 < 1 else "chaotic"
    return FixedPoint(q, chi_1, depth_scale(rate_q), c, depth_scale(rate_c), depth_scale(chi_1), phase)


def depth_scale(rate: float) -> float:
    """Return the layers in which what is multiplied by `rate` per layer falls by e: negative where it grows.

    A rate within 1e-9 of 1 gives inf, and 0 gives 0.

    Examples
    --------
    >>> round(depth_scale(0.75), 6), depth_scale(1.0), depth_scale(2.0) < 0
    (3.476059, inf, True)
    """
    if rate == 0:
        return 0.0
    return math.inf if abs(abs(rate) - 1) <= _EDGE else -1 / math.log(abs(rate))


def check_variances(sigma_w2: float, sigma_b2: float) -> None:
    """Check that the variance of the weights is positive and that of the biases at least 0, both finite.

    Raises
    ------
    ArgumentError
        One is not.
    """
    check_length("sigma_w2", sigma_w2, positive=True)
    check_length("sigma_b2", sigma_b2)


def _correlation(phi: Activation, q: float, sigma_w2: float, sigma_b2: float, chi_1: float) -> float:
    """Return the attracting correlation in [0, 1]: the map is convex there and keeps 1, with slope chi_1."""
    if chi_1 <= 1 + _EDGE:
        return 1.0

    def gain(c: float) -> float:
        return (sigma_w2 * phi.covariance(q, q, c * q) + sigma_b2) / q - c

    if abs(gain(0.0)) <= 1e-12:
        return 0.0
    gap = 0.5
    while gain(1 - gap) >= 0:  # convex, so below the diagonal between the two fixed points
        gap /= 4
        if gap < 1e-15:
            return 1.0
    return brentq(gain, 0.0, 1 - gap, xtol=1e-13)
