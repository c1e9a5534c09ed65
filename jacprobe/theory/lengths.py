"""The limit of the lengths of the pre-activations, layer after layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.theory.gaussian import Activation

_SMALLEST, _LARGEST = 1e-10, 1e10  # lengths searched
_STEP = 2.0
_STILL = 1e-12  # relative change of a length that rounding may cause


def limit_of_lengths(phi: Activation, sigma_w2: float, sigma_b2: float, start: float | None) -> float:
    """Return the limit of q -> sigma_w2 V(q) + sigma_b2 from `start`, or that from every q > 0.

    Fixed points are searched for between 1e-10 and 1e10, on a grid of powers of 2. Lengths cannot swing for ever: d log
    V / d log q = E[u^2 phi(u)^2] / (2 q V) - 1/2 is at least -1/2, so about a fixed point a swing halves in each layer.

    Raises
    ------
    ArgumentError
        The length grows without end, or `start` is needed and missing.
    """
    def growth(q: float) -> float:
        change = sigma_w2 * phi.second_moment(q) + sigma_b2 - q
        return 0.0 if abs(change) <= _STILL * q else float(change)

    at_zero = sigma_w2 * phi.second_moment(0.0) + sigma_b2
    lowest = min(_SMALLEST, at_zero / 4 or _SMALLEST)
    if start is None:
        limits = _limits(growth, lowest, zero_stays=at_zero == 0)
        if len(limits) != 1:
            raise ArgumentError(_undecided(phi, sigma_w2, sigma_b2, limits))
        limit = limits[0]
    else:
        limit = _walk(growth, _after_some_layers(growth, float(start)), lowest)
    if limit == math.inf:
        raise ArgumentError(f"`sigma_w2` must keep the length finite; got {sigma_w2} with sigma_b2 = {sigma_b2} for"
                            f" {phi.name}, whose length grows without end. Use a smaller sigma_w2 or sigma_b2;"
                            " length_map and gradient_map give single layers.")
    return limit


def _limits(growth: Callable[[float], float], lowest: float, *, zero_stays: bool) -> list[float]:
    """Return the lengths that attract, increasing, inf among them; none where every length stays."""
    lengths, signs, error = [], [], None
    for q in lowest * _STEP ** np.arange(math.ceil(math.log2(_LARGEST / lowest)) + 1):
        try:
            change = growth(float(q))
        except (ArgumentError, NonFiniteError) as caught:
            if lengths:
                break  # so large a length has no moments: it was left below, or is never reached from below
            error = caught  # of a length so small that rounding hides the function, as for cosh(x) - 1
            continue
        error = None
        if change:  # a length that seems to stay moves as its neighbours do
            lengths.append(float(q))
            signs.append(math.copysign(1, change))
    if error:
        raise error
    if not signs:
        return []
    falls = [i for i in range(len(signs) - 1) if signs[i] > 0 > signs[i + 1]]
    limits = [_root(growth, lengths[i], lengths[i + 1]) for i in falls]
    lowest_limit = [0.0] if zero_stays and signs[0] < 0 else []
    return [*lowest_limit, *limits, *([math.inf] if signs[-1] > 0 else [])]


def _after_some_layers(growth: Callable[[float], float], q: float) -> float:
    """Return the length 50 layers on, for a map that overshoots; one that rises with q stays on its side anyway."""
    for _ in range(50):
        following = q + growth(q)
        if not _SMALLEST < following < _LARGEST:
            break
        q = following
    return q


def _walk(growth: Callable[[float], float], start: float, lowest: float) -> float:
    """Return the limit from `start`, by steps of a factor 2 up to the first change of direction."""
    change = growth(start)
    if change == 0:
        return start
    direction = math.copysign(1, change)
    q = start
    while lowest < q < _LARGEST or q == start:
        following = q * _STEP**direction
        if growth(following) * direction < 0:
            return _root(growth, min(q, following), max(q, following))
        q = following
    return math.inf if direction > 0 else 0.0


def _root(growth: Callable[[float], float], lower: float, upper: float) -> float:
    return math.exp(brentq(lambda log_q: growth(math.exp(log_q)), math.log(lower), math.log(upper), xtol=1e-14))


def _undecided(phi: Activation, sigma_w2: float, sigma_b2: float, limits: list[float]) -> str:
    settings = f"got None with sigma_w2 = {sigma_w2} and sigma_b2 = {sigma_b2} for {phi.name}"
    if not limits:
        return f"`start` must be given where every length stays; {settings}. Pass the first layer's length."
    shown = ", ".join(f"{limit:.6g}" for limit in limits)
    return f"`start` must be given where lengths can settle at {shown}; {settings}. Pass the first layer's length."
