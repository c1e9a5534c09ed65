"""Continuous parts of a law of singular values, as functions of t = log s^2, where deep laws vary on an even scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.interpolate import CubicHermiteSpline, CubicSpline, PchipInterpolator

_NEGLIGIBLE = 1e-6  # last terms of a cosine series, relative to its largest one


@dataclass(frozen=True, eq=False)
class Band:
    """An interval with a density that may end like a square root, or like an inverse one.

    With ``t = middle - half cos(phi)`` the mass per angle is then smooth and even in phi at both ends: sums over the
    middles of equal steps converge fast, and its cosine series integrates term by term.

    Attributes
    ----------
    low, high
        Ends in t.
    angular
        float64 (num_points,): mass per unit of phi at ``phi = (k + 1/2) pi / num_points``.
    """

    low: float
    high: float
    angular: NDArray[np.float64]

    @classmethod
    def sampled(cls, density: Callable[[NDArray], NDArray], low: float, high: float, *, least: int, most: int) -> Band:
        """Return the band with `density` (of t), on as many points as its cosine series needs."""
        num_points = least
        while True:
            angles = midpoints(num_points)
            points = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
            band = cls(low, high, density(points) * (high - low) / 2 * np.sin(angles))
            if num_points >= most or band.resolved:
                return band
            num_points *= 2

    @property
    def resolved(self) -> bool:
        """Whether the last part of the cosine series is negligible."""
        return bool(np.abs(self._series[-len(self._series) // 8 :]).max() < _NEGLIGIBLE * np.abs(self._series).max())

    @property
    def mass(self) -> float:
        return float(self.weights.sum())

    @property
    def nodes(self) -> NDArray[np.float64]:
        """Values of t with whose `weights` functions of it are averaged."""
        return (self.low + self.high) / 2 - (self.high - self.low) / 2 * np.cos(midpoints(len(self.angular)))

    @property
    def weights(self) -> NDArray[np.float64]:
        return self.angular * np.pi / len(self.angular)

    def scaled(self, factor: float) -> Band:
        """Return the band with `factor` times its mass."""
        return Band(self.low, self.high, self.angular * factor)

    def density(self, t: NDArray) -> NDArray:
        """Return the density over t."""
        inside = (t > self.low) & (t < self.high)
        angle = np.where(inside, self._angle(t), np.pi / 2)
        return np.where(inside, self._mass_per_angle(angle) / (np.sin(angle) * (self.high - self.low) / 2), 0.0)

    def cumulated(self, t: NDArray) -> NDArray:
        """Return the mass at or below t."""
        return self._cumulated(self._angle(t))

    def _angle(self, t: NDArray) -> NDArray:
        relative = np.clip((t - self.low) / (self.high - self.low), 0, 1)
        return 2 * np.arcsin(np.sqrt(relative))  # exact at the lower end, where an arc cosine would round

    @cached_property
    def _series(self) -> NDArray[np.float64]:
        """Coefficients of cos(k phi)."""
        series = dct(self.angular, type=2) / len(self.angular)
        series[0] /= 2
        return series

    @cached_property
    def _padded(self) -> tuple[NDArray, NDArray]:
        """Angles and masses per angle, with both ends."""
        signs = (-1.0) ** np.arange(len(self._series))
        ends = max(0.0, self._series.sum()), max(0.0, self._series @ signs)
        angles = np.concatenate([[0.0], midpoints(len(self.angular)), [np.pi]])
        return angles, np.concatenate([ends[:1], self.angular, ends[1:]])

    @cached_property
    def _mass_per_angle(self) -> CubicSpline:
        return CubicSpline(*self._padded, bc_type="clamped")

    @cached_property
    def _cumulated(self) -> CubicHermiteSpline:
        angles, masses = self._padded
        num = len(self._series)
        sines = self._series[1:] / np.arange(1, num)
        sums = np.sin(np.multiply.outer(angles, np.arange(1, num))) @ sines
        return CubicHermiteSpline(angles, self._series[0] * angles + sums, masses)


@dataclass(frozen=True, eq=False)
class Table:
    """A continuous law known by the nodes and weights of a quadrature: a single orthogonal layer's slopes.

    Attributes
    ----------
    nodes, weights
        float64 (num_nodes,): values of t, increasing, and their masses.
    edges, masses
        float64 (num_cells + 1,) and (num_cells,): cells of t and what lies in them, where that is known.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    edges: NDArray[np.float64] | None = None
    masses: NDArray[np.float64] | None = None

    @property
    def low(self) -> float:
        return float(self._interpolated.x[0])

    @property
    def high(self) -> float:
        return float(self._interpolated.x[-1])

    @property
    def mass(self) -> float:
        return float(self.weights.sum())

    def scaled(self, factor: float) -> Table:
        masses = None if self.masses is None else self.masses * factor
        return Table(self.nodes, self.weights * factor, self.edges, masses)

    def density(self, t: NDArray) -> NDArray:
        return np.where((t >= self.low) & (t <= self.high), self._interpolated.derivative()(t), 0.0)

    def cumulated(self, t: NDArray) -> NDArray:
        return self._interpolated(np.clip(t, self.low, self.high))

    @cached_property
    def _interpolated(self) -> PchipInterpolator:
        """By cells; else half of a node's weight lies on either side, and the first and last share theirs inwards."""
        if self.edges is not None:
            return PchipInterpolator(self.edges, np.concatenate([[0.0], np.cumsum(self.masses)]))
        sums = np.cumsum(self.weights) - self.weights / 2
        sums[0], sums[-1] = 0.0, self.mass
        return PchipInterpolator(self.nodes, sums)


def midpoints(num_points: int) -> NDArray[np.float64]:
    """Return the middles of equal parts of (0, pi)."""
    return (np.arange(num_points) + 0.5) * np.pi / num_points
