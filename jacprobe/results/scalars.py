"""Scalars of the state of a segment, from sums over its singular values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.results.density import Density
from jacprobe.results.moments import Moments


class Points(NamedTuple):
    """Singular values of each input with how often each of them occurs; structural zeros may be left out.

    values, counts
        float64 (num_inputs, num_points); exact values occur once, nodes of a density as often as their weights say.
    dim
        How many values each input has, structural zeros included.
    """

    values: Tensor
    counts: Tensor
    dim: int

    def sum(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the sum of `function` over each input's values, each divided by the largest, (num_inputs,)."""
        largest = self.values.max(1, keepdim=True).values
        return (self.counts * function(self.values / torch.where(largest > 0, largest, 1))).sum(1)


class Scalars:
    """Scalars of one segment, which ``Spectrum`` takes over; s are the singular values of one input.

    They are exact where all singular values are known, up to their floor. From a density or from moments they are
    estimates. What neither knows is NaN. Ranks of a Jacobian that is 0 are 0.
    """

    density: Density | None
    moments: Moments | None
    dim: int | None
    mean: float
    std: float
    num_zeros: int

    def _points(self) -> Points | None:
        raise NotImplementedError

    def _resolved(self) -> bool:
        raise NotImplementedError

    @property
    def mean_square(self) -> float:
        """Mean squared singular value, chi: ``||J||_F^2 / min(out_dim, in_dim)``, averaged over inputs.

        The gain of squared gradient lengths; 1 at criticality. Also known from moments.

        References
        ----------
        Pennington, Schoenholz and Ganguli 2017 (arXiv 1711.04735), section 2 (their chi, for one square layer).
        Doshi, He and Gromov 2023 (arXiv 2111.12143): its relative, the averaged partial Jacobian norm.
        """
        if self.moments is not None:
            return self.moments.pooled_mean_square
        if self.density is not None:
            return self.density.mean_square
        points = self._points()
        return math.nan if points is None else float(points.values.square().mean())

    @property
    def relative_variance(self) -> float:
        """Variance of s^2 over its squared mean, averaged over the inputs whose Jacobian is not 0.

        0 for a multiple of an isometry, 1 for one square Gaussian layer; additive over the layers of wide networks.
        Also known from moments.

        References
        ----------
        Pennington, Schoenholz and Ganguli 2017 (arXiv 1711.04735), section 2 (their variance of J J^T, where chi is 1).
        """
        if self.moments is not None:
            return self.moments.pooled_relative_variance
        return self._averaged(_relative_variance)

    @property
    def relative_std(self) -> float:
        """``std / mean`` of the singular values: their spread, whatever their scale; 0 for a multiple of an isometry.

        It is the coefficient of variation.
        """
        return self.std / self.mean if self.mean > 0 else math.nan

    @property
    def stable_rank(self) -> float:
        """``||J||_F^2 / s_max^2``, averaged over inputs: between 1 and the rank.

        From a density it is too large where the largest node lies below the largest value.

        References
        ----------
        Rudelson and Vershynin 2007, Sampling from large matrices, section 1 (their numerical rank).
        """
        return self._averaged(lambda points: points.sum(torch.square))

    @property
    def participation(self) -> float:
        """Participation ratio ``(sum s^2)^2 / sum s^4``, averaged over inputs: how many directions carry the energy.

        It is ``min(out_dim, in_dim) / (1 + relative variance)``, and so also known from moments.

        References
        ----------
        Bell and Dean 1970, Atomic vibrations in vitreous silica (its inverse, for localised modes).
        """
        if self.moments is not None:
            return float((self.dim / (1 + self.moments.relative_variance)).nan_to_num(0).mean())
        return self._averaged(lambda points: _ratio(points.sum(torch.square).square(), points.sum(_fourth), 0.0))

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the distribution ``s / sum(s)``, averaged over inputs.

        References
        ----------
        Roy and Vetterli 2007, The effective rank, Definition 1.
        """
        return self._averaged(_effective_rank)

    @property
    def log_det(self) -> float:
        """Mean of ``ln s^2`` over all values of all inputs: ``ln det(J J^T)`` per value, for a wide or square J.

        Minus infinity where there is a structural zero; `log_det_nonzero` is then the mean over the others. It is the
        sum of the Lyapunov exponents, over their number and times two. NaN where a value is at or under the floor.

        References
        ----------
        Ubaru, Chen and Saad 2017, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, for estimates.
        """
        return -math.inf if self.num_zeros else self.log_det_nonzero

    @property
    def log_det_nonzero(self) -> float:
        """Mean of ``ln s^2`` over the values of all inputs that are no structural zeros.

        NaN where there are none, or where one of them is at or under the floor: its logarithm is not known. From a
        density it is an estimate from above: quadrature overestimates the mean of a logarithm.
        """
        points = self._points()
        if points is None or not self._resolved():
            return math.nan
        known = points.counts > 0
        counts = points.counts[known]
        return float((counts * points.values[known].log()).sum() / counts.sum()) * 2 if known.any() else math.nan

    def _averaged(self, scalar: Callable[[Points], Tensor]) -> float:
        points = self._points()
        return math.nan if points is None else float(scalar(points).nanmean())


def _relative_variance(points: Points) -> Tensor:
    second = points.dim * points.sum(_fourth)
    return (_ratio(second, points.sum(torch.square).square(), math.nan) - 1).clamp(min=0)  # rounding can go below


def _effective_rank(points: Points) -> Tensor:
    total = points.sum(lambda s: s)
    weighted = points.sum(lambda s: torch.special.xlogy(s, s))
    return total * torch.exp(-_ratio(weighted, total, 0.0))


def _fourth(s: Tensor) -> Tensor:
    return s.square().square()


def _ratio(above: Tensor, below: Tensor, otherwise: float) -> Tensor:
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), otherwise)
