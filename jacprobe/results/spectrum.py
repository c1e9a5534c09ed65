"""What is known of one segment's singular values, with their statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jacprobe.results.density import Density
from jacprobe.results.intervals import UNKNOWN, Intervals
from jacprobe.results.moments import Moments
from jacprobe.results.scalars import Points, Scalars

KINDS = ("layer", "module", "end_to_end", "cumulative", "pair")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
BAND_CONFIDENCE = 0.99  # with which the band of an estimated distribution holds
_ROUNDING = 1e-12  # of a share that is a sum of many
_SMALLEST = torch.finfo(torch.float64).tiny  # below this no value has a relative error


@dataclass(frozen=True, eq=False)
class Spectrum(Scalars):
    """What is known of the singular values of one segment's Jacobian, one row per input.

    `label` says which: all values ("exact"); intervals, of all or of the largest ("bounded"); a density or moments
    ("estimated"); nothing ("none", and `reason` says why). A statistic that this does not determine is NaN.

    Attributes
    ----------
    segment, kind, source, target
        Its name, what it is (one of ``KINDS``), and the sites between which it lies.
    out_dim, in_dim
        Shape of the Jacobian; None where the segment was never reached.
    num_inputs
        Number of inputs asked for.
    values
        float64 (num_inputs, count), each row decreasing; None where single values are not known. `count` is `dim`, or
        less where only the largest are known.
    zeros
        int64 (num_inputs,): how many of the `dim` values of each input are zero by structure, that is by masks, widths
        and units whose derivative is exactly 0 in working precision. They are the last ones, and exactly 0.
    method, label
        What ran, and what the numbers are: "exact" (error at most `floor`), "bounded", "estimated" or "none".
    floor
        Bound on the absolute error of every value, from working precision and solver. The former is measured against
        float64 with random products; it is too small for one input with probability under 3 %.
    seconds
        Wall time spent on this segment.
    modules
        Weighted modules that the segment holds.
    reason
        Why there is no spectrum, else None.
    density
        Estimated distribution of all values, or None.
    bounds
        Lower and upper ends, float64 (num_inputs, count) each, decreasing: an interval for each of the `count` largest
        values, not counting the errors within `floor`. None where `floor` says it all.
    confidence
        Probability with which the upper ends of `bounds` hold; 1 if they always do.
    note
        Why this method was chosen; "" if there is nothing to say.
    relative_floor
        Bound on the error of the logarithm of every value that is no structural zero, where each was resolved however
        small it is; it takes the place of `floor`. It is about the product of the factors as they are in float64. NaN
        where it was not asked for, or where a value of some input may be rounding alone.
    gradient_ratio
        Length of a random gradient that was sent back from the output, at the segment's source over that at its
        target; NaN where unknown.
    dead_units
        Share of the units at the target that have one and the same activation for every input; NaN where unknown.
    cosine_in, cosine_out
        Mean cosine between the activations of two inputs, over all pairs, at source and target: a step of the
        correlation map. NaN where unknown.
    moments
        Estimated mean square and relative variance, or None.

    References
    ----------
    Schoenholz et al. 2017 (arXiv 1611.01232) for `gradient_ratio`; Poole et al. 2016 (arXiv 1606.05340) for cosines.
    """

    segment: str
    kind: str
    source: str | None
    target: str | None
    out_dim: int | None
    in_dim: int | None
    num_inputs: int
    values: Tensor | None = None
    zeros: Tensor | None = None
    method: str = "none"
    label: str = "none"
    floor: float = math.nan
    seconds: float = 0.0
    modules: tuple[str, ...] = ()
    reason: str | None = None
    density: Density | None = None
    bounds: tuple[Tensor, Tensor] | None = None
    confidence: float = 1.0
    note: str = ""
    relative_floor: float = math.nan
    gradient_ratio: float = math.nan
    dead_units: float = math.nan
    cosine_in: float = math.nan
    cosine_out: float = math.nan
    moments: Moments | None = None

    @property
    def dim(self) -> int | None:
        """How many singular values each input has, min(out_dim, in_dim); None where that is not known."""
        return None if self.out_dim is None or self.in_dim is None else min(self.out_dim, self.in_dim)

    @property
    def is_known(self) -> bool:
        """Whether there is anything to say about the values."""
        return any(part is not None for part in (self.values, self.bounds, self.density, self.moments))

    @property
    def is_complete(self) -> bool:
        """Whether every single value is known."""
        return self.values is not None and self.values.shape[1] == self.dim

    @property
    def has_counted_zeros(self) -> bool:
        """Whether structural zeros were looked for."""
        return self.zeros is not None or self.density is not None

    @property
    def num_values(self) -> int:
        """How many of the largest values of each input are known, or confined to intervals, one by one."""
        known = self.values if self.bounds is None else self.bounds[0]
        return 0 if known is None else known.shape[1]

    @property
    def mean(self) -> float:
        """Mean over all singular values of all inputs, structural zeros included (the paper's mean JSV)."""
        if self.density is not None:
            return self.density.mean
        return float(self.values.mean()) if self.is_complete else math.nan

    @property
    def std(self) -> float:
        """Population standard deviation over the same values."""
        if self.density is not None:
            return self.density.std
        return float(self.values.std(correction=0)) if self.is_complete else math.nan

    @property
    def min(self) -> float:
        """Smallest value over all inputs; of a density only structural zeros tell it."""
        if self.is_complete:
            return float(self.values.min())
        return 0.0 if self.num_zeros else math.nan

    @property
    def max(self) -> float:
        """Largest value over all inputs; of a density the largest node, which is a lower bound up to rounding."""
        if self.values is not None:
            return float(self.values.max())
        return math.nan if self.density is None else self.density.maximum

    @property
    def cond(self) -> float:
        """Condition number of the paper's Table 1: global `max` / global `min`; infinite where zeros are structural.

        Where `num_under_floor` is not 0 it is a lower bound: `floor` stands for the smallest value.
        """
        if self.num_zeros:
            largest = self.max_interval[0] if math.isnan(self.max) else self.max
            return math.inf if largest > 0 else math.nan
        if not self.is_complete or self.max == 0:
            return math.nan
        smallest = max(self.min, self.resolution if self.num_under_floor else 0)
        return max(1.0, self.max / smallest) if smallest > 0 else math.inf

    @property
    def cond_per_input(self) -> Tensor | None:
        """(num_inputs,) largest over smallest value of each input by itself; bounds and infinities as in `cond`."""
        if not self.is_complete:
            return None
        smallest = self.values[:, -1].clamp(min=self.resolution if self.num_under_floor else 0)
        return (self.values[:, 0] / torch.where(self._zeros() > 0, 0, smallest)).clamp(min=1)

    @property
    def num_zeros(self) -> int:
        """Number of structural zeros, summed over inputs."""
        return int(self._zeros().sum())

    @property
    def resolution(self) -> float:
        """Values up to this may be anything from 0 to twice as large: `floor`, or 0 with a relative floor or none."""
        return 0.0 if math.isnan(self.floor) or math.isfinite(self.relative_floor) else self.floor

    @property
    def num_under_floor(self) -> int:
        """Number of known values at or under `resolution` that are not structural zeros."""
        if self.values is None:
            return 0
        zeros = (self._zeros() - (self.dim - self.values.shape[1])).clamp(min=0)  # among the known ones
        return int((self.values <= self.resolution).sum() - zeros.sum())

    @property
    def mean_interval(self) -> tuple[float, float]:
        """Interval in which the mean lies; NaN for an estimate, whose standard error is no bound."""
        known = self.intervals()
        return UNKNOWN if known is None else known.mean

    @property
    def min_interval(self) -> tuple[float, float]:
        """Interval in which the smallest value lies; of a density, from 0 to its smallest node."""
        known = self.intervals()
        low, high = UNKNOWN if known is None else known.min
        if self.density is None or high == 0:
            return low, high
        smallest = self.density.smallest + self.resolution
        return (0.0, smallest) if math.isnan(low) else (low, min(high, smallest))

    @property
    def max_interval(self) -> tuple[float, float]:
        """Interval in which the largest value lies; of a density, from its largest node to the Frobenius norm."""
        known = self.intervals()
        low, high = UNKNOWN if known is None else known.max
        if self.density is None:
            return low, high
        norm = math.nan if self.density.frobenius is None else float(self.density.frobenius.max())
        return float(np.fmax(low, max(0.0, self.density.maximum - self.resolution))), float(np.fmin(high, norm))

    def ldi_interval(self, epsilon: float) -> tuple[float, float]:
        """Return the interval in which ``ldi(epsilon)`` lies; for a density with probability ``BAND_CONFIDENCE``."""
        known = self.intervals()
        low, high = UNKNOWN if known is None else known.share(1 - epsilon, 1 + epsilon)
        if self.density is None:
            return low, high
        inner, outer = epsilon - self.resolution, epsilon + self.resolution
        least = self.density.share_band(1 - inner, 1 + inner, failure=1 - BAND_CONFIDENCE)[0] if inner > 0 else 0.0
        most = self.density.share_band(1 - outer, 1 + outer, failure=1 - BAND_CONFIDENCE)[1]
        return float(np.fmax(low, least)), float(np.fmin(high, most))

    def intervals(self) -> Intervals | None:
        """Return intervals that hold single values, floor included, [0, 0] for structural zeros; None if unknown."""
        if self.bounds is not None:
            lower, upper = self.bounds
            lower, upper = lower - self.resolution, upper + self.resolution
        elif self.values is not None and math.isfinite(self.relative_floor):
            lower, upper = (self.values.clamp(min=_SMALLEST) * math.exp(sign * self.relative_floor) for sign in (-1, 1))
            lower = lower.masked_fill(self.values <= _SMALLEST, 0)
        elif self.values is not None and not math.isnan(self.floor):
            lower, upper = self.values - self.floor, self.values + self.floor
        elif self.num_zeros:
            lower = upper = torch.empty(self.num_inputs, 0, dtype=torch.float64, device="cpu")
        else:
            return None
        return Intervals.of(lower, upper, self._zeros(), self.dim)

    def standard_error(self, statistic: str = "mean") -> float:
        """Return the standard error of "mean", "std", "mean_square" or "relative_variance", or NaN.

        Only estimates have one, and moments only of the latter two. It is that over probes, and what errors of all
        values up to `floor` can do to the statistic, in quadrature: probes may agree better than they are rounded.
        """
        if self.moments is not None and statistic in ("mean_square", "relative_variance"):
            return math.hypot(getattr(self.moments, f"pooled_{statistic}_standard_error"), self._rounding(statistic))
        if self.density is not None and statistic in ("mean", "std", "mean_square"):
            return math.hypot(self.density.standard_error(statistic), self._rounding(statistic))
        return math.nan

    def _rounding(self, statistic: str) -> float:
        """Return how far a statistic may move where every value moves by up to `resolution`, to first order."""
        if statistic in ("mean", "std"):
            return self.resolution
        square = self.resolution * (2 * math.sqrt(self.mean_square) + self.resolution)
        if statistic == "mean_square" or square == 0:
            return square
        spread = math.sqrt(max(0.0, self.relative_variance))  # std of s^2 over its mean; both move by `square`
        return (spread + square / self.mean_square * (1 + spread)) ** 2 - spread**2 if self.mean_square else math.nan

    def quantile(self, q: float) -> float:
        """Return the `q` quantile, 0 <= q <= 1, over all values of all inputs."""
        if self.density is not None:
            return self.density.quantile(q)
        return float(np.quantile(self.values.numpy(), q)) if self.is_complete else math.nan

    def ldi(self, epsilon: float) -> float:
        """Return the share of values with ``|value - 1| <= epsilon``.

        Layerwise dynamical isometry (Lee et al. 2020, Definition 1) holds where it is 1 for every layer.
        """
        if self.density is not None:
            return self.density.share(1 - epsilon, 1 + epsilon)
        return float(((self.values - 1).abs() <= epsilon).double().mean()) if self.is_complete else math.nan

    def is_isometric(self, epsilon: float) -> bool | None:
        """Whether every value lies within `epsilon` of 1; None where that is not known.

        Exact values decide, and intervals where they leave no doubt. A density can only refute: with probability
        ``BAND_CONFIDENCE`` rightly.
        """
        if self.is_complete and self.bounds is None:
            return self.ldi(epsilon) == 1
        least, most = self.ldi_interval(epsilon)
        if most < 1 - _ROUNDING:
            return False
        return True if least == 1 and self.density is None else None

    def _zeros(self) -> Tensor:
        if self.zeros is not None:
            return self.zeros
        if self.density is not None:
            return self.density.zeros
        return torch.zeros(self.num_inputs, dtype=torch.int64, device="cpu")

    def _points(self) -> Points | None:
        if self.density is not None:
            live = (self.dim - self.density.zeros).double() / self.density.num_probes
            counts = self.density.weights * live[:, None, None]
            return Points(self.density.nodes.flatten(1), counts.flatten(1), self.dim)
        if not self.is_complete:
            return None
        counts = torch.arange(self.dim, device="cpu") < (self.dim - self._zeros())[:, None]
        return Points(self.values, counts.double(), self.dim)

    def _resolved(self) -> bool:
        if self.density is not None:
            return self.density.smallest > self.resolution
        return self.num_under_floor == 0

    def __repr__(self) -> str:
        shape = "unreached" if self.out_dim is None else f"{self.out_dim}x{self.in_dim}"
        facts = {"mean": self.mean, "std": self.std, "max": self.max, "mean square": self.mean_square}
        if self.is_complete or self.density is not None:
            facts = {name: facts[name] for name in ("mean", "std")}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in facts.items() if not math.isnan(value))
        text = self.reason or ", ".join(filter(None, (f"{self.num_inputs} inputs", shown, self.label)))
        return f"Spectrum({self.segment}, {self.kind}, {shape}: {text})"

    def _repr_html_(self) -> str:
        from jacprobe.results.glance import text_row  # which is made of spectra

        return pd.DataFrame([text_row(self, 0.1)]).to_html(index=False, border=0)
