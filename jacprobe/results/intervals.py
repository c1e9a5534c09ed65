"""What intervals of single values say about all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of the largest singular values of each input; further ones lie between 0 and the last of these.

    Attributes
    ----------
    lower, upper
        float64 (num_inputs, count): ends of the intervals of the `count` largest values.
    rest
        int64 (num_inputs,): how many further values there are that are no structural zeros.
    zeros
        int64 (num_inputs,): structural zeros, exactly 0; those among the first `count` values have the interval [0, 0].
    dim
        How many values there are in all.
    """

    lower: Tensor
    upper: Tensor
    rest: Tensor
    zeros: Tensor
    dim: int

    @classmethod
    def of(cls, lower: Tensor, upper: Tensor, zeros: Tensor, dim: int) -> Intervals:
        """Return the intervals [lower, upper], cut at 0, of spectra with known numbers of structural `zeros`."""
        count = lower.shape[1]
        nonzero = torch.arange(count, device="cpu") < (dim - zeros)[:, None]
        cut = [torch.where(nonzero, end, 0).clamp(min=0) for end in (lower, upper)]
        return cls(*cut, (dim - zeros - count).clamp(min=0), zeros, dim)

    @property
    def mean(self) -> tuple[float, float]:
        """Interval of the mean over all values of all inputs; unknown where single values are."""
        if self.rest.any():
            return UNKNOWN
        total = len(self.zeros) * self.dim
        return float(self.lower.sum()) / total, float(self.upper.sum()) / total

    @property
    def min(self) -> tuple[float, float]:
        """Interval of the smallest value of all inputs."""
        if self.zeros.any():
            return 0.0, 0.0
        if self.upper.numel() == 0:
            return UNKNOWN
        return 0.0 if self.rest.any() else float(self.lower.min()), float(self.upper.min())

    @property
    def max(self) -> tuple[float, float]:
        """Interval of the largest value of all inputs."""
        return (float(self.lower.max()), float(self.upper.max())) if self.upper.numel() else UNKNOWN

    def share(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the largest possible share of all values in [low, high], where high >= 0."""
        inside = ((self.lower >= low) & (self.upper <= high)).sum(1)
        touching = ((self.upper >= low) & (self.lower <= high)).sum(1)
        further = self.dim - self.rest - self.lower.shape[1]  # structural zeros behind the intervals
        last = self.upper[:, -1] if self.upper.numel() else torch.full_like(self.rest, math.inf, dtype=torch.float64)
        if low <= 0:
            inside = inside + further + torch.where(last <= high, self.rest, 0)
            touching = touching + further
        touching = touching + torch.where(last >= low, self.rest, 0)
        total = len(self.zeros) * self.dim
        return float(inside.sum()) / total, float(touching.sum()) / total
