"""Gaussian moments of activations in closed form.

References: Cho and Saul 2009 (ReLU); Williams 1997 (erf); Poole et al. 2016 (arXiv 1606.05340), section 2: the maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import gammainc


@dataclass(frozen=True)
class ClosedForms:
    """Those moments of an activation phi that have a closed form, None where quadrature serves.

    Attributes
    ----------
    second_moment, second_moment_slope
        q -> E[phi(u)^2] of u of variance q, and its derivative by q.
    slope_moment
        q, k -> E[phi'(u)^(2k)], or None for a `k` without closed form.
    covariance, slope_covariance
        q11, q22, q12 -> E[phi(u1) phi(u2)] and E[phi'(u1) phi'(u2)].
    """

    second_moment: Callable[[float], float] | None = None
    second_moment_slope: Callable[[float], float] | None = None
    slope_moment: Callable[[float, float], float | None] | None = None
    covariance: Callable[[float, float, float], float] | None = None
    slope_covariance: Callable[[float, float, float], float] | None = None


def leaky_forms(slope: float) -> ClosedForms:
    """Return those of max(x, 0) + slope * min(x, 0): 0 is ReLU and 1 the identity.

    Examples
    --------
    >>> leaky_forms(0.5).second_moment(2.0), leaky_forms(1.0).covariance(1.0, 1.0, 0.25)
    (1.25, 0.25)
    """
    kink, cross = (1 - slope) ** 2, slope  # phi = slope x + (1 - slope) relu(x), and E[u1 relu(u2)] = q12 / 2

    def covariance(q11: float, q22: float, q12: float) -> float:
        scale = math.sqrt(q11 * q22)
        angle = _angle(q11, q22, q12)
        return cross * q12 + kink * scale * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)

    return ClosedForms(
        second_moment=lambda q: q * (1 + slope**2) / 2,
        second_moment_slope=lambda q: (1 + slope**2) / 2,
        slope_moment=lambda q, k: (1 + abs(slope) ** (2 * k)) / 2,
        covariance=covariance,
        slope_covariance=lambda q11, q22, q12:
            cross + kink * (math.pi - _angle(q11, q22, q12)) / (2 * math.pi),
    )


def erf_forms(scale: float) -> ClosedForms:
    """Return those of erf(scale * x).

    Examples
    --------
    >>> round(erf_forms(math.sqrt(math.pi) / 2).slope_moment(1.0, 1), 9) == round(1 / math.sqrt(1 + math.pi), 9)
    True
    """
    def widened(q: float) -> float:
        return 1 + 2 * scale**2 * q

    def covariance(q11: float, q22: float, q12: float) -> float:
        sine = 2 * scale**2 * q12 / math.sqrt(widened(q11) * widened(q22))
        return 2 / math.pi * math.asin(max(-1.0, min(1.0, sine)))

    def slope_covariance(q11: float, q22: float, q12: float) -> float:
        c = 2 * scale**2
        spread = 1 + c * (q11 + q22) + c**2 * max(q11 * q22 - q12**2, 0.0)
        return 4 * scale**2 / math.pi / math.sqrt(spread)

    return ClosedForms(
        second_moment=lambda q: covariance(q, q, q),
        second_moment_slope=lambda q: 4 * scale**2 / math.pi / widened(q) / math.sqrt(2 * widened(q) - 1),
        slope_moment=lambda q, k: (4 * scale**2 / math.pi) ** k / math.sqrt(1 + 4 * k * scale**2 * q),
        covariance=covariance,
        slope_covariance=slope_covariance,
    )


def _hard_tanh_inside(q: float) -> float:
    """Return E[u^2; |u| < 1] / q, the chance of a chi-squared variable of 3 degrees below 1 / q."""
    return float(gammainc(1.5, 1 / (2 * q))) if q else 1.0


def _sine_slope_moment(q: float, k: float) -> float | None:
    """Return the mean of cos(u)^(2k), by the binomial expansion in cosines of even multiples."""
    if k != int(k):
        return None
    n = int(k)
    waves = sum(math.comb(2 * n, n - j) * math.exp(-2 * j**2 * q) for j in range(1, n + 1))
    return (math.comb(2 * n, n) + 2 * waves) / 4**n


def _sine_covariance(q11: float, q22: float, q12: float) -> float:
    # exponents are at most 0, so that large lengths do not overflow
    return math.copysign(math.exp(abs(q12) - (q11 + q22) / 2) * -math.expm1(-2 * abs(q12)) / 2, q12)


HARD_TANH = ClosedForms(
    # the last term is the saturated mass; without it the length is too small
    second_moment=lambda q: q * _hard_tanh_inside(q) + (math.erfc(1 / math.sqrt(2 * q)) if q else 0.0),
    second_moment_slope=_hard_tanh_inside,
    slope_moment=lambda q, k: math.erf(1 / math.sqrt(2 * q)) if q else 1.0,
)
SINE = ClosedForms(
    second_moment=lambda q: -math.expm1(-2 * q) / 2,
    second_moment_slope=lambda q: math.exp(-2 * q),
    slope_moment=_sine_slope_moment,
    covariance=_sine_covariance,
    slope_covariance=lambda q11, q22, q12: (math.exp(q12 - (q11 + q22) / 2) + math.exp(-q12 - (q11 + q22) / 2)) / 2,
)


def _angle(q11: float, q22: float, q12: float) -> float:
    """Return the angle between two signals; through both sine and cosine, accurate also near 0."""
    return math.atan2(math.sqrt(max(q11 * q22 - q12**2, 0.0)), q12)
