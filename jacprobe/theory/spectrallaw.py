"""The law of singular values that theory expects: atoms and continuous bands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jacprobe.errors import ArgumentError
from jacprobe.theory.bands import Band, Table

_BISECTIONS = 110  # of log s, from the smallest float to the largest singular value

_CLOSE_TO_ZERO = 1e-6


@dataclass(frozen=True, eq=False)
class SpectralLaw:
    """A law of singular values s in the limit of large width, of total mass 1.

    Attributes
    ----------
    atoms
        (value, mass) of every singular value that has a positive mass, in increasing order; 0 among them where the
        Jacobian is rank-deficient.
    bands
        Continuous parts.
    defect
        How much of the mass numerics lost or invented before the bands were scaled to the mass that is known exactly.

    Examples
    --------
    >>> from jacprobe.theory import LayerLaw, product_law
    >>> law = product_law([LayerLaw(100, 100)])  # the quarter circle
    >>> round(law.s_max, 6), round(law.mean, 5), round(float(law.cdf(1.0)), 6)
    (2.0, 0.84883, 0.608998)
    """

    atoms: tuple[tuple[float, float], ...]
    bands: tuple[Band | Table, ...]
    defect: float = 0.0

    def __repr__(self) -> str:
        atoms = ", ".join(f"{mass:.3g} at {value:.4g}" for value, mass in self.atoms) or "none"
        return (f"SpectralLaw on [{self.s_min:.4g}, {self.s_max:.4g}]: mean {self.mean:.4g}, std {self.std:.4g},"
                f" relative variance {self.relative_variance:.4g}, atoms: {atoms}")

    @property
    def s_max(self) -> float:
        """Upper end of the support."""
        return max([value for value, _ in self.atoms] + [math.exp(band.high / 2) for band in self.bands])

    @property
    def s_min(self) -> float:
        """Lower end of the support, atoms at 0 included; 0 where it is below a millionth of `s_max`.

        For activations that saturate this depends on units so rare that no network has them; there
        ``quantile(1 / width)`` says more.
        """
        ends = [value for value, _ in self.atoms] + [math.exp(band.low / 2) for band in self.bands]
        return 0.0 if min(ends) < _CLOSE_TO_ZERO * self.s_max else min(ends)

    @property
    def zero_mass(self) -> float:
        """Share of the singular values that are exactly 0."""
        return sum(mass for value, mass in self.atoms if value == 0)

    @property
    def mean(self) -> float:
        return self.expectation(lambda s: s)

    @property
    def std(self) -> float:
        mean = self.mean
        return math.sqrt(self.expectation(lambda s: (s - mean) ** 2))

    @property
    def mean_square(self) -> float:
        return self.expectation(np.square)

    @property
    def relative_variance(self) -> float:
        """Var(s^2) / E[s^2]^2: 0 for an isometry, 1 for one square Gaussian layer."""
        mean = self.mean_square
        return self.expectation(lambda s: (s * s / mean - 1) ** 2)

    @property
    def mean_log_square(self) -> float:
        """Mean of log s^2, the sum of Lyapunov exponents over the width; -infinity with an atom at 0."""
        if self.zero_mass:
            return -math.inf
        total = sum(mass * 2 * math.log(value) for value, mass in self.atoms)
        return total + sum(float(band.weights @ band.nodes) for band in self.bands)

    def expectation(self, function: Callable[[NDArray], NDArray]) -> float:
        """Return the mean of an elementwise function of s."""
        total = sum(mass * float(function(np.array([value]))[0]) for value, mass in self.atoms)
        return total + sum(float(band.weights @ function(np.exp(band.nodes / 2))) for band in self.bands)

    def pdf(self, s: ArrayLike) -> NDArray[np.float64]:
        """Return the density of the bands over s; atoms are no part of it."""
        s, log_square = _log_squares(s)
        density = sum((band.density(log_square) for band in self.bands), np.zeros(s.shape))
        return np.divide(2 * density, s, out=np.zeros(s.shape), where=s > 0)

    def cdf(self, s: ArrayLike) -> NDArray[np.float64]:
        """Return the share of singular values that are at most `s`."""
        s, log_square = _log_squares(s)
        steps = sum((mass * (s >= value) for value, mass in self.atoms), np.zeros(s.shape))
        return np.where(s < 0, 0.0, sum((band.cumulated(log_square) for band in self.bands), steps))

    def quantile(self, p: ArrayLike) -> NDArray[np.float64]:
        """Return the smallest value that has at least a share `p` of all at or below it.

        Raises
        ------
        ArgumentError
            `p` is outside [0, 1].
        """
        p = np.asarray(p, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise ArgumentError(f"`p` must lie in [0, 1]; got {p.min()} to {p.max()}. The median is 0.5.")
        lowest = min([math.log(value) for value, _ in self.atoms if value] + [band.low / 2 for band in self.bands])
        low = np.full(p.shape, max(lowest, math.log(1e-300)) - 1e-9)
        high = np.full(p.shape, math.log(self.s_max))
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            reached = self.cdf(np.exp(middle)) >= p
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.where(p <= self.zero_mass, 0.0, np.exp(high)) if self.zero_mass else np.exp(high)

    def distance(self, values: ArrayLike, *, tolerance: float = 1e-5, floor: float = 1e-14) -> float:
        """Return the Kolmogorov-Smirnov distance to measured singular values: the largest gap between both cdfs.

        The gap is taken from both sides of every measured value and every atom.

        Parameters
        ----------
        values
            Measured singular values of any shape; those of many Jacobians may be pooled. Zeros belong to it, as the
            law counts them as the atom at 0.
        tolerance
            Values within this share of `s_max` of an atom above 0 count as the atom, as rounding moves them off it.
        floor
            Values below this share of the largest one are rounding errors: both cdfs are compared from there upwards.
            For values of a float32 Jacobian it is about 1e-7.

        Raises
        ------
        ArgumentError
            There are no values, or one is negative or not finite.
        """
        values = np.sort(np.asarray(values, dtype=np.float64).ravel())
        if not (len(values) and np.isfinite(values).all() and values[0] >= 0):
            found = f"{values[0]} to {values[-1]}" if len(values) else "none"
            raise ArgumentError(f"`values` must be at least one finite singular value >= 0; got {found}. "
                                "Pass `Spectrum.values`.")
        least = floor * max(values[-1], self.s_max)
        values = np.where(values <= least, 0.0, values)
        for value, _ in self.atoms:
            if value > 0:
                values = np.where(np.abs(values - value) <= tolerance * self.s_max, value, values)
        values = np.sort(values)
        atoms = {value: mass for value, mass in self.atoms if value > least}
        points = np.unique(np.concatenate([np.maximum(values, least), list(atoms)]))
        behind = self.cdf(points)
        before = behind - np.array([atoms.get(point, 0.0) for point in points])
        measured = np.searchsorted(values, points, side="right") / len(values)
        measured_before = np.searchsorted(values, points, side="left") / len(values)
        gaps = [np.abs(behind - measured), np.abs(before - measured_before)[points > least]]
        return float(np.concatenate(gaps).max())


def _log_squares(s: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return `s` as float64, and log s^2, -infinity where s is not positive."""
    s = np.asarray(s, dtype=np.float64)
    return s, 2 * np.log(s, out=np.full(s.shape, -np.inf), where=s > 0)
