"""Activations as the theory sees them: Gaussian moments of a function and of its slope."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.theory.bivariate import bivariate_mean
from jacprobe.theory.closed_forms import ClosedForms
from jacprobe.theory.quadrature import gaussian_mean, gaussian_rule

_ALMOST_ZERO = 1e-100  # either side of 0: the limit of small lengths, also where the slope jumps
_LEVELS = (1.05, -0.02, 0.5 + 0.1j)  # where the rule of a law must integrate 1 / (level - slope^2 / largest)


@dataclass(frozen=True)
class Activation:
    """An activation phi, elementwise, with its moments under normal laws; u below has variance q.

    Moments are relative to the mean absolute integrand accurate to about 1e-12, in closed form where one is known.

    Attributes
    ----------
    name
        For messages.
    function
        float64 tensor -> tensor of the same shape, elementwise.
    kinks
        Points where a derivative jumps.
    closed_forms
        Moments known in closed form.

    Examples
    --------
    >>> tanh = Activation("tanh", torch.tanh)
    >>> round(tanh.second_moment(1.0), 9), round(tanh.slope_moment(1.0), 9)
    (0.39429449, 0.464402902)
    """

    name: str
    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    closed_forms: ClosedForms = field(default=ClosedForms(), repr=False)

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi at the points `x`, float64 and of any shape.

        Raises
        ------
        NonFiniteError
            A value is not finite.
        """
        with torch.no_grad():
            return self._finite(self.function(torch.from_numpy(x)).numpy(), x)

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Return phi' at the points `x`, float64 and of any shape.

        Raises
        ------
        NonFiniteError
            A slope is not finite.
        """
        with torch.enable_grad():
            points = torch.from_numpy(x.copy()).requires_grad_()
            values = self.function(points)
            if not values.requires_grad:  # constant
                return np.zeros_like(x)
            (slopes,) = torch.autograd.grad(values.sum(), points)
        return self._finite(slopes.numpy(), x)

    def second_moment(self, q: float) -> float:
        """Return V(q) = E[phi(u)^2].

        Raises
        ------
        ArgumentError
            `q` is negative or not finite, or the moment is infinite.
        """
        check_length("q", q)
        if self.closed_forms.second_moment:
            return self.closed_forms.second_moment(q)
        if q == 0:
            return float(self.values(np.zeros(1))[0] ** 2)
        return float(gaussian_mean(lambda x: self.values(x)[None] ** 2, q, self.kinks)[0])

    def second_moment_slope(self, q: float) -> float:
        """Return dV/dq = E[u phi(u) phi'(u)] / q, which needs no second derivative.

        Raises
        ------
        ArgumentError
            `q` is not positive and finite, or the moment is infinite.
        """
        check_length("q", q, positive=True)
        if self.closed_forms.second_moment_slope:
            return self.closed_forms.second_moment_slope(q)
        return float(gaussian_mean(lambda x: (x * self.values(x) * self.slopes(x))[None], q, self.kinks)[0]) / q

    def slope_moment(self, q: float, k: float = 1) -> float:
        """Return mu_k(q) = E[|phi'(u)|^(2k)]; k = 1/2 is the mean absolute slope, `q` = 0 the limit of small lengths.

        Raises
        ------
        ArgumentError
            `q` is negative or not finite, `k` not positive, or the moment is infinite.
        """
        check_length("q", q)
        check_length("k", k, positive=True)
        closed = self.closed_forms.slope_moment(q, k) if self.closed_forms.slope_moment else None
        if closed is not None:
            return closed
        if q == 0:
            return float(sum(abs(slope) ** (2 * k) for slope in self.one_sided_slopes())) / 2
        return float(gaussian_mean(lambda x: abs(self.slopes(x))[None] ** (2 * k), q, self.kinks)[0])

    def one_sided_slopes(self) -> tuple[float, float]:
        """Return phi' just below and just above 0, which alone count for small lengths."""
        slopes = self.slopes(np.array([-_ALMOST_ZERO, _ALMOST_ZERO]))
        below, above = np.where(abs(slopes) > math.sqrt(_ALMOST_ZERO), slopes, 0.0)  # of x^2 they are not quite 0
        return float(below), float(above)

    def mean(self, q: float) -> float:
        """Return E[phi(u)].

        Raises
        ------
        ArgumentError
            `q` is negative or not finite, or the moment is infinite.
        """
        check_length("q", q)
        if q == 0:
            return float(self.values(np.zeros(1))[0])
        return float(gaussian_mean(lambda x: self.values(x)[None], q, self.kinks)[0])

    def covariance(self, q11: float, q22: float, q12: float) -> float:
        """Return C = E[phi(u1) phi(u2)] of normal variables of variances `q11`, `q22` and covariance `q12`.

        Raises
        ------
        ArgumentError
            A variance is not positive and finite, or q12^2 exceeds their product.
        """
        q12 = _check_pair(q11, q22, q12)
        if self.closed_forms.covariance:
            return self.closed_forms.covariance(q11, q22, q12)
        return bivariate_mean(self.values, q11, q22, q12, self.kinks)

    def slope_covariance(self, q11: float, q22: float, q12: float) -> float:
        """Return dC = E[phi'(u1) phi'(u2)], by Price's theorem the derivative of C by `q12`.

        Raises
        ------
        ArgumentError
            A variance is not positive and finite, or q12^2 exceeds their product.
        """
        q12 = _check_pair(q11, q22, q12)
        if self.closed_forms.slope_covariance:
            return self.closed_forms.slope_covariance(q11, q22, q12)
        return bivariate_mean(self.slopes, q11, q22, q12, self.kinks)

    def slope_law(self, q: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the law of phi'(u)^2 as atoms: values, increasing, and their weights, which sum to 1.

        Exact where phi is piecewise linear (ReLU: 0 and 1, half each); else quadrature nodes, which integrate analytic
        functions of the slope to about 1e-10.

        Returns
        -------
        values, weights
            float64 arrays (num_atoms,).

        Raises
        ------
        ArgumentError
            `q` is not positive and finite, or a moment is infinite.

        Examples
        --------
        >>> Activation("relu", torch.relu, kinks=(0.0,)).slope_law(2.0)
        (array([0., 1.]), array([0.5, 0.5]))
        """
        check_length("q", q, positive=True)
        _, values, weights = _slope_law(self, float(q))
        return values.copy(), weights.copy()

    def slope_nodes(self, q: float) -> np.ndarray:
        """Return the points u, increasing, at which ``slope_law`` takes the slope."""
        return _slope_law(self, float(q))[0].copy()

    def _finite(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        if not np.isfinite(values).all():
            where = x[~np.isfinite(values)].ravel()[0]
            raise NonFiniteError(f"`activation` must be finite with a finite slope; got {self.name}, which is not at"
                                 f" x = {where:.6g}. Write it so that it does not overflow, or use a smaller `q`.")
        return values


@lru_cache(maxsize=256)
def _slope_law(phi: Activation, q: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nodes, and the values and weights of the law of the squared slope."""
    nodes, _ = gaussian_rule(lambda x: phi.slopes(x)[None] ** 2, q, phi.kinks)
    largest = max(float((phi.slopes(nodes) ** 2).max()), 1e-300)

    def tests(x: np.ndarray) -> np.ndarray:
        law = phi.slopes(x) ** 2 / largest
        resolvents = [1 / (level - law) for level in _LEVELS]
        return np.stack([law, law**2, law**8, *(part for r in resolvents for part in (r.real, r.imag))])

    nodes, weights = gaussian_rule(tests, q, phi.kinks)
    # both sides of an even slope, and the pieces of a piecewise linear one, are one atom each
    values, place = np.unique(phi.slopes(nodes) ** 2, return_inverse=True)
    return np.sort(nodes), values, np.bincount(place, weights)


def check_length(name: str, value: float, *, positive: bool = False) -> None:
    """Check that a length such as q is finite and at least 0, or above 0.

    Raises
    ------
    ArgumentError
        It is not.
    """
    known = isinstance(value, int | float | np.number) and math.isfinite(value)
    if not known or value < 0 or (positive and value == 0):
        least = "positive" if positive else "at least 0"
        raise ArgumentError(f"`{name}` must be a finite number that is {least}; got {value!r}."
                            f" It is {'a power' if name == 'k' else 'a variance'}.")


def _check_pair(q11: float, q22: float, q12: float) -> float:
    """Check the covariance of two variables; return `q12` less what rounding put above the largest."""
    check_length("q11", q11, positive=True)
    check_length("q22", q22, positive=True)
    largest = math.sqrt(q11) * math.sqrt(q22)  # the product of small ones underflows
    if not abs(q12) <= largest * (1 + 1e-12):
        raise ArgumentError(f"`q12` must lie within sqrt(q11 q22) = {largest:.6g} of 0; got {q12}. A correlation is at"
                            " most 1.")
    return max(-largest, min(largest, q12))
