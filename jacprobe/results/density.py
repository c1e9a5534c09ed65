"""The distribution of singular values that are too many to compute, from a quadrature of random probes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.results.sharing import multiplicity

_ROUNDING = 1e-5  # of the largest node: how far float32 products may shift a node
_FEWEST = 4  # independent values to tell the spread of an estimate from
_AT_A_TIME = 2**22  # numbers of a band that are held at a time


@dataclass(frozen=True, eq=False)
class Density:
    """Estimated distribution of all singular values of a segment's Jacobian, one row of probes per input.

    Every probe is a random direction; its nodes and weights are the Gauss quadrature of the distribution as that
    direction sees it. Averages over probes estimate the distribution without bias, up to the resolution of the
    quadrature. Structural zeros are no part of it: they are counted, and enter every number below as an exact atom.

    Attributes
    ----------
    nodes
        float64 (num_inputs, num_probes, num_steps) on the CPU: singular values, each row decreasing, 0 in the padding.
    weights
        Of the same shape; each row sums to 1. The padding, behind the nodes of a probe that was exhausted early, has
        weight exactly 0, and no node has.
    dim
        How many singular values the whole spectrum has, min(out_dim, in_dim).
    zeros
        int64 (num_inputs,): structural zeros among them. Nodes and weights describe the other ``dim - zeros``.
    frobenius
        float64 (num_inputs,): the exact Frobenius norms of the Jacobians, or None. Where they are known the mean
        statistics are corrected by what the probes got wrong about them.
    seed
        Of the probes.

    References
    ----------
    Ubaru, Chen and Saad 2017, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature. Chen, Trogdon and Ubaru
    2021, Analysis of stochastic Lanczos quadrature for spectrum approximation.
    """

    nodes: Tensor
    weights: Tensor
    dim: int
    zeros: Tensor
    frobenius: Tensor | None
    seed: int

    def __repr__(self) -> str:
        return (f"Density of {self.dim} values x {self.num_inputs} inputs: mean {self.mean:.4g}, std {self.std:.4g},"
                f" estimated from {self.num_probes} probes x {self.num_steps} steps, seed {self.seed}")

    @property
    def num_inputs(self) -> int:
        return self.nodes.shape[0]

    @property
    def num_probes(self) -> int:
        """Probes per input."""
        return self.nodes.shape[1]

    @property
    def num_steps(self) -> int:
        return self.nodes.shape[2]

    @property
    def mean(self) -> float:
        """Mean over all singular values of all inputs."""
        return float(self._estimates(self._first(), 0.0).mean())

    @property
    def std(self) -> float:
        """Population standard deviation over all singular values of all inputs."""
        return math.sqrt(max(0.0, float(self._estimates(self._deviations(), self.mean**2).mean())))

    @property
    def mean_square(self) -> float:
        """Mean square over all singular values of all inputs; exact where `frobenius` is known."""
        return float(self._estimates(self._second(), 0.0).mean())

    @property
    def maximum(self) -> float:
        """Largest node: a lower bound of the largest singular value."""
        return float(self.nodes.max())

    @property
    def smallest(self) -> float:
        """Smallest node: only an upper bound of the smallest value that is no structural zero, often far above it."""
        real = (self.weights > 0) & (self.zeros < self.dim)[:, None, None]
        return float(self.nodes[real].min()) if real.any() else 0.0

    def standard_error(self, statistic: str) -> float:
        """Return the standard error over probes of "mean", "std" or "mean_square".

        The weights of a uniformly random direction on n values are Dirichlet distributed: the mean of a function that
        such a direction sees has 2 / (n + 2) of the variance of that function over the values. This is used instead of
        the spread over probes, which is a poor estimate where they are few. The resolution of the quadrature, finer
        after some dozen steps, is not part of it. NaN where all probes together are too few to tell the variance.

        Raises
        ------
        UnknownNameError
            There is no such statistic.
        """
        if statistic == "mean":
            return self._error(self._first())
        if statistic == "mean_square":
            return self._error(self._second())
        if statistic == "std":
            error = self._error(self._deviations())
            return error / (2 * self.std) if self.std else error  # the error of a variance, by the delta method
        raise UnknownNameError("statistic", statistic, ("mean", "std", "mean_square"))

    def distribution(self, x: Tensor | float) -> Tensor:
        """Return the share of the singular values of all inputs that are at most `x`, float64 of the shape of `x`."""
        x = torch.as_tensor(x, dtype=torch.float64, device="cpu")
        nodes, cumulated = self._steps()
        return cumulated[torch.searchsorted(nodes, x, right=True)]

    def quantile(self, q: float) -> float:
        """Return the smallest value that has at least a share `q`, 0 <= q <= 1, of all values at or under it.

        Raises
        ------
        ArgumentError
            `q` lies elsewhere.
        """
        if not 0 <= q <= 1:
            raise ArgumentError(f"`q` must lie in [0, 1]; got {q!r}. The median is 0.5.")
        nodes, cumulated = self._steps()
        index = int(torch.searchsorted(cumulated[1:], q * float(cumulated[-1])))
        return float(nodes[min(index, len(nodes) - 1)])

    def share(self, low: float, high: float) -> float:
        """Return the estimated share of values in [low, high]."""
        nodes, cumulated = self._steps()
        first = torch.searchsorted(nodes, torch.tensor(low, dtype=torch.float64, device="cpu"))
        last = torch.searchsorted(nodes, torch.tensor(high, dtype=torch.float64, device="cpu"), right=True)
        return max(0.0, float(cumulated[last] - cumulated[first]))

    def band(self, x: Tensor | float, *, failure: float = 0.01) -> tuple[Tensor, Tensor]:
        """Return a lower and an upper bound of the distribution function at `x`, float64 of the shape of `x`.

        With probability ``1 - failure`` over the probes the true function of all inputs together lies in the band at
        every `x` at once. Each probe's quadrature confines that probe's function between the sums of weights before
        and behind the neighbouring nodes (Chebyshev, Markov, Stieltjes); a probe that was exhausted knows it exactly.
        The average over probes is then widened by how far it may be from the truth: each value of a probe's function
        is Beta distributed, with a sub-Gaussian variance of at most 1 / (2 (n + 2)) for n values.

        References
        ----------
        Marchal and Arbel 2017, On the sub-Gaussianity of the Beta and Dirichlet distributions, Theorem 1.
        """
        x = torch.as_tensor(x, dtype=torch.float64, device="cpu")
        lower, upper = self._sums(x.flatten())
        slack = self._deviation(self._jumps, failure)
        known = (x >= 0).double() * self._zero_mass  # below 0 there is nothing
        least = torch.where(x < 0, 0, known + (lower.reshape(x.shape) - slack).clamp(min=0))
        most = torch.where(x < 0, 0, known + (upper.reshape(x.shape) + slack).clamp(max=1 - self._zero_mass))
        return least, most

    def share_band(self, low: float, high: float, *, failure: float = 0.01) -> tuple[float, float]:
        """Return a lower and an upper bound of the share of values in [low, high].

        They hold with probability ``1 - failure`` for every interval at once, so that it may be chosen afterwards.
        """
        if high < max(low, 0):
            return 0.0, 0.0
        below = self._sums(torch.tensor([low], dtype=torch.float64, device="cpu"), strict=True)
        up_to = self._sums(torch.tensor([high], dtype=torch.float64, device="cpu"))
        slack = self._deviation(self._jumps * (self._jumps + 1) / 2, failure)
        zeros = self._zero_mass if low <= 0 else 0.0
        least = max(0.0, float(up_to[0] - below[1]) - slack)
        most = min(1 - self._zero_mass, float(up_to[1] - below[0]) + slack)
        return zeros + least, zeros + most

    def curve(self, x: Tensor | float, width: float) -> Tensor:
        """Return the density at `x` >= 0, smoothed by a Gaussian of standard deviation `width`, float64.

        It is reflected at 0, so that it integrates to 1 over x >= 0. Structural zeros are a half peak at 0. No
        product is repeated for another width.

        Raises
        ------
        ArgumentError
            `width` is not positive.
        """
        if not width > 0:
            raise ArgumentError(f"`width` must be positive; got {width!r}. A hundredth of the largest value is fine.")
        x = torch.as_tensor(x, dtype=torch.float64, device="cpu")
        masses = torch.nn.functional.pad(self._masses().flatten(), (0, 1), value=self._zero_mass)
        points = torch.nn.functional.pad(self.nodes.flatten(), (0, 1))
        heights = [
            (_gaussian((part[:, None] - points) / width) + _gaussian((part[:, None] + points) / width)) @ masses
            for part in x.flatten().split(max(1, _AT_A_TIME // len(points)))
        ]
        return torch.where(x < 0, 0, torch.cat(heights).reshape(x.shape) / width)

    @property
    def _zero_mass(self) -> float:
        return float(self.zeros.sum()) / (self.dim * self.num_inputs)

    def _masses(self) -> Tensor:
        """Masses of the nodes in the pooled distribution; with the atom at zero they sum to 1."""
        live = (self.dim - self.zeros).double() / self.dim
        return self.weights * (live / (self.num_inputs * self.num_probes))[:, None, None]

    def _steps(self) -> tuple[Tensor, Tensor]:
        """Return 0 and the nodes in increasing order, and the pooled function before the first and at each of them."""
        real = self.weights > 0
        nodes, order = self.nodes[real].sort()
        masses = torch.cat([nodes.new_tensor([0.0, self._zero_mass]), self._masses()[real][order]])
        return torch.cat([nodes.new_zeros(1), nodes]), masses.cumsum(0)

    def _first(self) -> Tensor:
        return self._anchored(self.nodes, self._slope)

    def _second(self) -> Tensor:
        return self._anchored(self.nodes.square(), torch.ones_like(self._slope))

    def _deviations(self) -> Tensor:
        mean = self.mean
        return self._anchored((self.nodes - mean).square(), 1 - 2 * mean * self._slope)

    @property
    def _square(self) -> Tensor:
        """Mean square of the values of each input that are no structural zeros, where Frobenius norms tell it."""
        return self.frobenius.square() / (self.dim - self.zeros).clamp(min=1)

    @property
    def _slope(self) -> Tensor:
        """How much of s^2 each input takes off s, so that the mean of what is left is better known, (num_inputs,).

        The slope of s as a function of s^2 at the root mean square, but at most one over the largest s: then what is
        left varies no faster than s. It is not fitted to the weights, as their errors would be in it, which do not
        average out over inputs.
        """
        if self.frobenius is None:
            return self.nodes.new_zeros(self.num_inputs)
        steep = torch.maximum(2 * self._square.sqrt(), self.nodes.amax((1, 2)))
        return torch.where(steep > 0, 1 / steep, 0)

    def _anchored(self, values: Tensor, slope: Tensor) -> Tensor:
        """Return `values` at nodes less a control variate of mean 0, where Frobenius norms tell the mean square."""
        if self.frobenius is None:
            return values
        return values - slope[:, None, None] * (self.nodes.square() - self._square[:, None, None])

    def _estimates(self, values: Tensor, at_zero: float) -> Tensor:
        """Return each probe's mean over the spectrum of a function with these `values` at nodes, (inputs, probes)."""
        live = ((self.dim - self.zeros).double() / self.dim)[:, None]
        return live * self._inner(values) + (1 - live) * at_zero

    def _inner(self, values: Tensor) -> Tensor:
        return (self.weights * values).sum(2)

    def _sums(self, x: Tensor, *, strict: bool = False) -> tuple[Tensor, Tensor]:
        """Return bounds of the nodes' part of the pooled function at `x` (num,), or of its limit from the left."""
        nodes, weights = self.nodes.flip(2).flatten(0, 1), self.weights.flip(2).flatten(0, 1)
        padding = (weights == 0).sum(1, keepdim=True)  # now in front
        nodes = torch.where(weights == 0, -math.inf, nodes)
        cumulated = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
        margin = (padding == 0).long()
        last = self.num_steps
        live = ((self.dim - self.zeros).double() / self.dim).repeat_interleave(self.num_probes) / len(nodes)
        slack = _ROUNDING * self.maximum
        lower, upper = [], []
        for part in x.split(max(1, _AT_A_TIME // len(nodes))):
            few = torch.searchsorted(nodes, (part - slack).expand(len(nodes), -1).contiguous(), right=not strict)
            many = torch.searchsorted(nodes, (part + slack).expand(len(nodes), -1).contiguous(), right=not strict)
            lower.append(live @ cumulated.gather(1, (few - margin).clamp(min=0)))
            upper.append(live @ cumulated.gather(1, (many + margin).clamp(max=last)))
        return torch.cat(lower), torch.cat(upper)

    def _deviation(self, events: float, failure: float) -> float:
        """Return how far the pooled average may be from the truth in any of `events`, but for a chance `failure`."""
        if not 0 < failure < 1:
            raise ArgumentError(f"`failure` must lie between 0 and 1; got {failure!r}. It is a probability.")
        live = (self.dim - self.zeros).double()
        share = live / (self.dim * self.num_inputs)
        variance = float((self._sharing * share.square() / (2 * (live + 2) * self.num_probes)).sum())
        return math.sqrt(2 * variance * math.log(2 * max(1.0, events) / failure))

    def _error(self, values: Tensor) -> float:
        """Return the standard error of the mean over the spectrum of a function with these `values` at nodes."""
        live = (self.dim - self.zeros).double()
        independent = (live + 2) / 2 * self.num_probes  # so many independent values would have as uncertain a mean
        centred = values - self._inner(values).mean(1)[:, None, None]
        variance = self._inner(centred.square()).mean(1) / (independent - 1).clamp(min=0.5)  # one is spent on the mean
        errors = (live / self.dim).square() * variance
        if bool((errors[live > 1] > 0).any()) and float((independent / self._sharing).sum()) < _FEWEST:
            return math.nan
        return math.sqrt(float((self._sharing * errors).sum())) / self.num_inputs

    @property
    def _jumps(self) -> float:
        return float(((self.dim - self.zeros) / self._sharing).sum())

    @cached_property
    def _sharing(self) -> Tensor:
        """How many inputs share the probes of each: a matrix that serves several was probed once."""
        return multiplicity(self.nodes, self.weights)


def _gaussian(x: Tensor) -> Tensor:
    return x.square().mul_(-0.5).exp_().mul_((2 * math.pi) ** -0.5)
