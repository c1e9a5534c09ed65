"""From a point of the negative axis around to the point of the spectrum at the same distance from 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jacprobe.theory.freeproduct import FreeProduct
from jacprobe.theory.realcurve import RealCurve

_TOLERANCE = 1e-9  # last change of log M at every angle; the error is of the order of its square
_ILL_DETERMINED = 1e-3  # slope of log z by log M below which rounding moves M further than the tolerance
_START_CORRECTIONS = 30
_CORRECTIONS = 6  # Newton steps before an angle counts as too far
_FARTHEST = 0.3  # correction of log M beyond which a prediction counts as bad
_FIRST, _GROWTH = 0.3, 1.7
_SLACK, _ZETA_SLACK = 1e-9, 1e-4  # rounding of angles; zeta is ill-determined where M is close to minus the rank
_LAST = 1e-15  # angle below which the next is 0
_MOST_ROUNDS = 600


@dataclass
class _Path:
    """Where each point is: its angle, the angle it moves by next, and the unknowns, row 0 log(-M), then log(-zeta)."""

    angle: NDArray[np.float64]
    stride: NDArray[np.float64]
    state: NDArray[np.complex128]  # (1 + num_open, num_points)


def moments_on(product: FreeProduct, curve: RealCurve, log_x: NDArray) -> NDArray[np.complex128]:
    """Return M(x + i0) at x = exp(`log_x`), complex of its shape.

    z = x exp(i angle) goes from pi to 0, where z lies on the spectrum or in a gap, each point with its own strides:
    a tangent, then Newton's method on the logarithmic equations.
    """
    log_m, log_zeta = curve.at(log_x)
    path = _Path(np.full(log_x.shape, np.pi), np.full(log_x.shape, _FIRST), np.array([log_m, *log_zeta]))
    path.state = _corrected(product, path.state, log_x + 0j, rounds=_START_CORRECTIONS)[0]
    for _ in range(_MOST_ROUNDS):
        moving = np.flatnonzero(path.angle > 0)
        if not len(moving):
            break
        _advance(product, path, moving, log_x[moving])
    return -np.exp(path.state[0])


def _advance(product: FreeProduct, path: _Path, moving: NDArray, log_x: NDArray) -> None:
    """Try one stride of each moving point; those that fail try half of it next."""
    angle, state = path.angle[moving], path.state[:, moving]
    following = np.where(angle < _LAST, 0, np.maximum(angle - path.stride[moving], 0))
    step = product.step(state[0], state[1:], log_x)
    change = 1j * (following - angle) / step.slope
    predicted = state + np.array([change, *step.tangents(change)])
    corrected, error = _corrected(product, predicted, log_x + 1j * (following - np.pi))
    good = (error < _TOLERANCE) & (np.abs(corrected - predicted).max(0) < _FARTHEST) & _lawful(corrected, following)
    good |= angle < _LAST
    path.state[:, moving[good]] = corrected[:, good]
    path.angle[moving[good]] = following[good]
    path.stride[moving] = np.where(good, path.stride[moving] * _GROWTH, (angle - following) / 2)


def _corrected(
    product: FreeProduct, state: NDArray, target: NDArray, rounds: int = _CORRECTIONS
) -> tuple[NDArray, NDArray]:
    """Return the state after Newton's method, and the last change at each point as an effect on log(-M)."""
    state, error = state.copy(), np.full(target.shape, np.inf)
    for _ in range(rounds):
        todo = np.flatnonzero(~(error < _TOLERANCE))
        if not len(todo):
            break
        step = product.step(state[0, todo], state[1:, todo], target[todo])
        change = -step.residual / step.slope
        changes = np.array([change, *step.towards(change)])
        # zeta is ill-determined where M is not sensitive to it, and then need not be known
        pairs = zip(changes[1:], step.inner, strict=True)
        effects = np.abs(np.array([change, *(by_zeta * e / response for by_zeta, (_, e, response) in pairs)]))
        state[1:, todo] += changes[1:]
        state[0, todo] = _moved(state[0, todo], change, np.log(product.rank))
        error[todo] = effects.max(0) / (1 + _ILL_DETERMINED / np.abs(step.slope))
    return state, error


def _moved(log_m: NDArray, change: NDArray, log_rank: float) -> NDArray:
    """Return log(-M) after a change, as a step of log(-M / (rank + M)): so M does not step over minus the rank."""
    rest = -np.expm1(log_m - log_rank)  # (rank + M) / rank
    odds = rest / np.exp(log_m - log_rank) * np.exp(-change / rest)
    moved = log_rank - np.log(1 + odds)
    return np.where(moved.imag < -1, moved + 2j * np.pi, moved)  # M > 0 on the axis: from below


def _lawful(state: NDArray, angle: NDArray) -> NDArray[np.bool_]:
    """Return where M lies in the lower half-plane, and every zeta above the axis at no smaller angle than z."""
    log_m, log_zeta = state[0], state[1:]
    lawful = (log_m.imag > -_SLACK) & (log_m.imag < np.pi + _SLACK)
    for zeta in log_zeta:
        lawful &= (zeta.imag + np.pi >= angle - _ZETA_SLACK) & (zeta.imag < _ZETA_SLACK)
    return lawful
