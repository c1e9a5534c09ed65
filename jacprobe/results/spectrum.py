"""One segment's singular values, with their statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

KINDS = ("layer", "module", "end_to_end", "cumulative", "pair")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of one segment's Jacobian, one row per input.

    Attributes
    ----------
    segment, kind, source, target
        Its name, what it is (one of ``KINDS``), and the sites between which it lies.
    out_dim, in_dim
        Shape of the Jacobian; None where the segment was never reached.
    num_inputs
        Number of inputs asked for.
    values
        float64 (num_inputs, rank), rank = min(out_dim, in_dim), each row decreasing; None where `reason` says why.
    zeros
        int64 (num_inputs,): how many values of each row are zero by structure, that is by masks, widths and units
        whose derivative is exactly 0 in working precision. They are the last values of the row, and exactly 0.
    method, label
        What ran, and what the numbers are: "exact" (error at most `floor`) or "none".
    floor
        Bound on the absolute error of every value, from working precision and solver. The former is measured against
        float64 with random products; it is too small for one input with probability under 3 %.
    seconds
        Wall time spent on this segment.
    modules
        Weighted modules that the segment holds.
    reason
        Why there is no spectrum, else None.
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

    @property
    def mean(self) -> float:
        """Mean over all singular values of all inputs, structural zeros included (the paper's mean JSV)."""
        return self._statistic(lambda values: values.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over the same values."""
        return self._statistic(lambda values: values.std(correction=0))

    @property
    def min(self) -> float:
        """Smallest value over all inputs."""
        return self._statistic(torch.min)

    @property
    def max(self) -> float:
        """Largest value over all inputs."""
        return self._statistic(torch.max)

    @property
    def cond(self) -> float:
        """Condition number of the paper's Table 1: global `max` / global `min`; infinite where zeros are structural.

        Where `num_under_floor` is not 0 it is a lower bound: `floor` stands for the smallest value.
        """
        if self.values is None or self.max == 0:
            return math.nan
        if self.num_zeros:
            return math.inf
        return self.max / max(self.min, self.floor if self.num_under_floor else 0)

    @property
    def cond_per_input(self) -> Tensor | None:
        """(num_inputs,) largest over smallest value of each input by itself; bounds and infinities as in `cond`."""
        if self.values is None:
            return None
        smallest = self.values[:, -1].clamp(min=self.floor if self.num_under_floor else 0)
        return self.values[:, 0] / torch.where(self.zeros > 0, 0, smallest)

    @property
    def num_zeros(self) -> int:
        """Number of structural zeros, summed over inputs."""
        return 0 if self.zeros is None else int(self.zeros.sum())

    @property
    def num_under_floor(self) -> int:
        """Number of values at or under `floor` that are not structural zeros: their size is not resolved."""
        return 0 if self.values is None else int((self.values <= self.floor).sum()) - self.num_zeros

    def quantile(self, q: float) -> float:
        """Return the `q` quantile, 0 <= q <= 1, over all values of all inputs."""
        return math.nan if self.values is None else float(np.quantile(self.values.numpy(), q))

    def ldi(self, epsilon: float) -> float:
        """Return the share of values with ``|value - 1| <= epsilon``.

        Layerwise dynamical isometry (Lee et al. 2020, Definition 1) holds where it is 1 for every layer.
        """
        return self._statistic(lambda values: ((values - 1).abs() <= epsilon).double().mean())

    def _statistic(self, function) -> float:
        return math.nan if self.values is None else float(function(self.values))

    def row(self, epsilon: float) -> dict[str, object]:
        """Return the summary row; see ``SpectrumSet.summary``."""
        known = self.values is not None
        return {
            "segment": self.segment,
            "kind": self.kind,
            "out_dim": self.out_dim,
            "in_dim": self.in_dim,
            "num_inputs": self.num_inputs,
            "mean": self.mean,
            "std": self.std,
            "min": self.min,
            "max": self.max,
            "cond": self.cond,
            "ldi": self.ldi(epsilon),
            "zeros": self.num_zeros if known else None,
            "method": self.method,
            "label": self.label,
            "floor": self.floor,
            "seconds": self.seconds,
            "reason": self.reason,
            "source": self.source,
            "target": self.target,
            "modules": "+".join(self.modules),
            **{name: self.quantile(q) for name, q in QUANTILES.items()},
            "cond_per_input": float(self.cond_per_input.median()) if known else math.nan,
            "under_floor": self.num_under_floor if known else None,
        }

    def __repr__(self) -> str:
        shape = "unreached" if self.out_dim is None else f"{self.out_dim}x{self.in_dim}"
        facts = self.reason or f"{self.num_inputs} inputs, mean {self.mean:.4g}, std {self.std:.4g}, {self.label}"
        return f"Spectrum({self.segment}, {self.kind}, {shape}: {facts})"
