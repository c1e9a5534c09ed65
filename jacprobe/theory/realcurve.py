"""The inverse z(M) of the moment transform at real z outside the spectrum: where it ends, and where paths start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jacprobe.theory.freeproduct import DiagonalFactor, FreeProduct

_NUM_POINTS = 400
_BISECTIONS = 48
_TAIL = 1e-9  # mass below the lowest point of a law that touches zero
_LARGE = 1e7  # |M| next to an atom
_SIMPLE = 1.01  # a zero of z(M) of at most this order leaves a gap above z = 0
_PARTS, _ROUNDS = 64, 5  # of the search for an extremum


@dataclass(frozen=True)
class RealCurve:
    """Solutions at z < 0, in the order of increasing -z; arrays of shape (num_points,)."""

    log_z: NDArray[np.float64]  # log(-z)
    log_m: NDArray[np.float64]  # log(-M)
    log_zeta: list[NDArray[np.float64]]  # log(-zeta) of each open factor

    def at(self, log_z: NDArray) -> tuple[NDArray, list[NDArray]]:
        """Return log(-M) and every log(-zeta) between the points, complex."""
        return self._between(log_z, self.log_m), [self._between(log_z, zeta) for zeta in self.log_zeta]

    def _between(self, log_z: NDArray, values: NDArray) -> NDArray:
        return np.interp(log_z, self.log_z, values).astype(complex)


def negative_axis(product: FreeProduct) -> RealCurve:
    """Return the curve for M from nearly minus the rank, at z = -0, to nearly 0, at z = -infinity."""
    steps = np.linspace(np.log(_TAIL), -np.log(_TAIL), _NUM_POINTS)
    moment = -product.rank / (1 + np.exp(steps))  # logistic: both ends are resolved
    log_zeta = inverses(product, moment)
    log_m = np.log(-moment)
    log_z = product.step(log_m + 0j, log_zeta, 0.0, sharp=True).residual.real
    return RealCurve(log_z, log_m, [zeta.real for zeta in log_zeta])


def lowest(product: FreeProduct, curve: RealCurve) -> float:
    """Return the log of the lower end of the spectrum above 0, or of a point with next to no mass below it."""
    tail = float(curve.log_z[0])
    distance = 1e-7
    _, slope = inverse(product, np.array([-product.rank * (1 - distance)]))
    if -slope[0] * distance > _SIMPLE:
        return tail
    return max(tail, _first_turn(product, -product.rank, np.log(_TAIL), np.log(_LARGE)))


def highest(product: FreeProduct) -> float:
    """Return the log of the upper end of the spectrum."""
    return _first_turn(product, 0.0, np.log(1 / _LARGE), np.log(_LARGE))


def inverse(product: FreeProduct, moment: NDArray) -> tuple[NDArray, NDArray]:
    """Return log |z| and its derivative by log |M| at real M outside [-rank, 0], or inside it (z < 0)."""
    log_m = np.log(np.abs(moment)) + np.where(moment > 0, 1j * np.pi, 0)
    step = product.step(log_m, inverses(product, moment), 0.0, sharp=True)
    return step.residual.real, np.where(np.abs(step.slope.imag) < 1e-6 * np.abs(step.slope), step.slope.real, np.nan)


def inverses(product: FreeProduct, moment: NDArray) -> list[NDArray]:
    """Return log(-zeta) of each open factor at real M, complex: the imaginary part is that of zeta above the axis."""
    return [_inverted(factor, factor.width * moment) for factor in product.open]


def _inverted(factor: DiagonalFactor, scaled: NDArray) -> NDArray:
    """Solve M_D(zeta) = scaled by bisection of a logarithm, left of 0, or between it and the law, or right of it."""
    law = factor.law
    smallest, largest, lowest_mass, highest_mass = law.ends()
    live = law.masses.sum()
    excess = np.abs(1 + live / scaled)  # zeta of a law with a single value is that value times 1 + live / scaled
    left, right = (scaled < 0) & (scaled > -live), scaled > 0
    anchor = np.where(right, largest, smallest)
    end = np.where(right, highest_mass, lowest_mass) / np.abs(scaled)
    low = np.log(np.where(left, smallest * excess, end))
    high = np.log(np.where(left, largest * excess, live / np.abs(scaled)))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        size = np.exp(middle)
        point = np.where(left, -size, anchor * np.where(right, 1 + size, 1 - size))
        # |M_D| falls with the distance from the law on either side of it
        closer = np.abs(law.transform(point, sharp=True)[0]) > np.abs(scaled)
        low, high = np.where(closer, middle, low), np.where(closer, high, middle)
    size = np.exp((low + high) / 2)
    log_right = np.log(anchor * np.where(right, 1 + size, np.maximum(1 - size, 1e-300)))
    return np.where(left, (low + high) / 2, log_right - 1j * np.pi)


def _first_turn(product: FreeProduct, start: float, low: float, high: float) -> float:
    """Return log z where z(M) first turns, as M moves away from `start`, 0 upwards or minus the rank downwards."""
    def at(logs: NDArray) -> tuple[NDArray, NDArray]:
        return inverse(product, np.exp(logs) if start == 0 else start * (1 + np.exp(logs)))

    logs = np.linspace(low, high, 2 * _NUM_POINTS)
    for _ in range(_ROUNDS):
        log_z, slope = at(logs)
        turned = ~(slope < 0) if start == 0 else ~(slope > 0)
        if not turned.any():  # z comes to rest at an atom
            return float(log_z[-1])
        first = max(1, int(np.argmax(turned)))
        bracket = logs[first - 1], logs[first]
        logs = np.linspace(*bracket, _PARTS)
    return float(log_z[first - 1])
