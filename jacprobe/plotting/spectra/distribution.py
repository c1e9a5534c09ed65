"""Where the singular values of one segment lie, all inputs together, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from jacprobe.plotting.spectra.points import node_resolution, shares
from jacprobe.results import Spectrum
from jacprobe.results.spectrum import BAND_CONFIDENCE


@dataclass(frozen=True, eq=False)
class Distribution:
    """The distribution function of a spectrum and what confines it, for the axes of a figure.

    Exact values confine it to a line. An estimate has a band that holds at every place at once with probability
    ``BAND_CONFIDENCE``; intervals have one that always holds, up to their confidence.
    """

    spectrum: Spectrum

    @property
    def is_exact(self) -> bool:
        """Whether all values are known up to the floor."""
        s = self.spectrum
        return s.is_complete and s.density is None and s.bounds is None

    @property
    def is_estimated(self) -> bool:
        return self.spectrum.density is not None

    @property
    def is_bounded(self) -> bool:
        """Whether only intervals are known."""
        known = None if self.is_exact or self.is_estimated else self.spectrum.intervals()
        return known is not None and known.upper.numel() > 0

    @cached_property
    def zeros(self) -> float:
        """Share of the values that are zero by structure; NaN where unknown."""
        return self._facts["zeros"]

    @cached_property
    def under_floor(self) -> float:
        """Share of further values that are not told from zero; NaN where unknown."""
        return self._facts["under_floor"]

    @cached_property
    def _facts(self) -> dict[str, float]:
        return shares(self.spectrum)

    @property
    def resolution(self) -> float:
        """Up to this a value counts as no other than zero."""
        return node_resolution(self.spectrum) if self.is_estimated else self.spectrum.resolution

    @cached_property
    def points(self) -> tuple[NDArray, NDArray]:
        """Values or nodes above the resolution, increasing, and the share of all values that each stands for."""
        if not (self.is_exact or self.is_estimated):
            return np.empty(0), np.empty(0)
        parts = [self.points_of(index) for index in range(self.spectrum.num_inputs)]
        values, masses = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(values, kind="stable")
        return values[order], masses[order] / self.spectrum.num_inputs

    def points_of(self, index: int) -> tuple[NDArray, NDArray]:
        """Return the points of one input, and the share of its values that each stands for."""
        dim = self.spectrum.dim
        if self.is_estimated:
            density = self.spectrum.density
            live = float(density.dim - density.zeros[index]) / (density.dim * density.num_probes)
            values, masses = density.nodes[index].numpy().ravel(), density.weights[index].numpy().ravel() * live
        else:
            values, masses = self.spectrum.values[index].numpy(), np.full(dim, 1 / dim)
        kept = (values > self.resolution) & (masses > 0)
        return values[kept], masses[kept]

    def cdf(self, x: NDArray) -> NDArray:
        """Return the share of values that are at most `x`; NaN where there are only intervals."""
        if self.is_estimated:
            return self.spectrum.density.distribution(torch.from_numpy(x)).numpy()
        if not self.is_exact:
            return np.full(x.shape, np.nan)
        values = np.sort(self.spectrum.values.numpy(), axis=None)
        return np.searchsorted(values, x, side="right") / values.size

    def band(self, x: NDArray) -> tuple[NDArray, NDArray]:
        """Return what `cdf` is at least and at most at each `x`; NaN where nothing is known."""
        if self.is_estimated:
            ends = self.spectrum.density.band(torch.from_numpy(x), failure=1 - BAND_CONFIDENCE)
            return ends[0].numpy(), ends[1].numpy()
        if not self.is_bounded:
            return self.cdf(x), self.cdf(x)
        known = self.spectrum.intervals()
        zeros = known.dim - known.rest - known.lower.shape[1]  # behind the intervals
        certain = _steps((known.upper, known.upper[:, -1:], zeros[:, None] * 0), known.rest, zeros)
        possible = _steps((known.lower, known.rest[:, None] * 0, zeros[:, None] * 0), known.rest, zeros)
        return tuple(_step(values, counts, x) for values, counts in (certain, possible))

    def share_band(self, low: float, high: float, share: float) -> tuple[float, float]:
        """Return what the share of values in [low, high] is at least and at most: `share` where that is exact."""
        if self.is_estimated:
            return self.spectrum.density.share_band(low, high, failure=1 - BAND_CONFIDENCE)
        if self.is_bounded:
            return self.spectrum.intervals().share(low, high)
        return share, share


def _steps(ends: tuple[torch.Tensor, ...], rest: torch.Tensor, zeros: torch.Tensor) -> tuple[NDArray, NDArray]:
    """Return where a distribution function may step, and by how many values."""
    counts = torch.cat([torch.ones_like(ends[0]), rest[:, None].double(), zeros[:, None].double()], 1)
    return torch.cat([end.double() for end in ends], 1).numpy().ravel(), counts.numpy().ravel()


def _step(values: NDArray, counts: NDArray, x: NDArray) -> NDArray:
    order = np.argsort(values)
    cumulated = np.concatenate([[0.0], counts[order].cumsum()])
    return cumulated[np.searchsorted(values[order], x, side="right")] / cumulated[-1]
