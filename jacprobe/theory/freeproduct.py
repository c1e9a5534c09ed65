"""The S-transform of a product of layers, in the logarithmic form that stays on one branch in the upper half-plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.slopelaw import SlopeLaw

_MANY, _GROUP = 3, 3  # of more different slope laws so many nodes are joined to one, as time grows with both


@dataclass(frozen=True)
class WeightFactor:
    """Equal weight matrices: log S(M) of J'J's share, with widths relative to the input of the network.

    `before` and `after` are N_0 / N of the widths on either side.
    """

    kept_energy: float
    before: float
    after: float
    log_scale: float  # log of the mean square that S carries: -log S(0)

    def log_s(self, moment: NDArray) -> tuple[NDArray, NDArray]:
        """Return log S at M = `moment`, and its derivative by log M."""
        value, slope = -self.log_scale, 0.0
        if self.after > self.before:  # a narrowing layer: its kernel
            inner, outer = self.before * moment, self.after * moment
            value = value + np.log(1 + inner) - np.log(1 + outer)
            slope = inner / (1 + inner) - outer / (1 + outer)
        if self.kept_energy == 1:
            return value + 0 * moment, slope + 0 * moment
        rest, scaled = 1 - self.kept_energy, min(self.before, self.after) * moment
        cross = self.kept_energy * rest
        root = np.sqrt(1 + 4 * cross * scaled)
        total = 1 + 2 * rest * scaled + root
        return value + np.log(2 / total), slope - scaled * (2 * rest + 2 * cross / root) / total


@dataclass(frozen=True)
class DiagonalFactor:
    """Equal diagonal matrices of a width N: the law of the squared entries and N_0 / N."""

    law: SlopeLaw
    width: float

    @property
    def closed(self) -> bool:
        """Whether the inverse of its moment transform is known: a single positive value."""
        return len(self.law.support) == 1

    def log_s(self, moment: NDArray) -> tuple[NDArray, NDArray]:
        """Return log S and its derivative by log M where the law has a single positive value."""
        scaled, live = self.width * moment, self.law.live
        value = np.log(1 + scaled) - np.log(live + scaled) - np.log(self.law.support[0])
        return value, scaled / (1 + scaled) - scaled / (live + scaled)


@dataclass(frozen=True)
class Step:
    """What one evaluation of the equations gives: residuals, and how Newton's step follows from them."""

    residual: NDArray  # of the equation of z, after elimination of the others
    slope: NDArray  # its derivative by log(-M)
    inner: list[tuple[NDArray, ...]]  # of each diagonal factor's: residual, derivatives by log(-zeta) and by -log(-M)

    def towards(self, change: NDArray) -> list[NDArray]:
        """Return the changes of log(-zeta) that belong to a change of log(-M)."""
        return [(response * change - residual) / elasticity for residual, elasticity, response in self.inner]

    def tangents(self, change: NDArray) -> list[NDArray]:
        """Return the same along the curve of solutions, where the residuals are 0."""
        return [response * change / elasticity for _, elasticity, response in self.inner]


class FreeProduct:
    """J'J of a chain of layers, its law over the N_0 inputs.

    The unknowns are M(z) and a subordination point zeta of every kind of diagonal matrix whose transform has no
    closed inverse: M_D(zeta) = Lambda M. With the signs ``log(-M), log(-zeta), log(-z)`` every logarithm stays on
    its principal branch for z in the upper half-plane.
    """

    def __init__(self, layers: Sequence[LayerLaw]):
        self.weights: dict[WeightFactor, int] = {}
        self.closed: dict[DiagonalFactor, int] = {}
        self.open: dict[DiagonalFactor, int] = {}
        self.input_dim, self.output_dim = layers[0].in_dim, layers[-1].out_dim
        for layer in layers:
            factor = weight_factor(layer, self.input_dim)
            self.weights[factor] = self.weights.get(factor, 0) + 1
        known: dict[tuple, DiagonalFactor] = {}
        laws = diagonal_laws(layers)
        if len({law.values.tobytes() for law, _ in laws}) > _MANY:
            laws = [(law.coarser(_GROUP), dim) for law, dim in laws]
        for law, dim in laws:
            key = law.values.tobytes(), law.weights.tobytes(), dim
            factor = known.setdefault(key, DiagonalFactor(law, self.input_dim / dim))
            group = self.closed if factor.closed else self.open
            group[factor] = group.get(factor, 0) + 1

    @property
    def diagonals(self) -> dict[DiagonalFactor, int]:
        return self.closed | self.open

    @property
    def rank(self) -> float:
        """Share of the N_0 singular values that are not 0: the smallest share that any factor passes."""
        return min([1.0, *(1 / f.after for f in self.weights), *(f.law.live / f.width for f in self.diagonals)])

    def log_mean(self) -> float:
        """Return the log of the mean of J'J over N_0."""
        value = sum(count * f.log_scale for f, count in self.weights.items())
        return value + sum(count * np.log(f.law.moment(1)) for f, count in self.diagonals.items())

    def relative_variance(self) -> float:
        """Return Var / mean^2 of the law over N_0: minus the slopes at 0 of all log S, added up."""
        total = 0.0
        for f, count in self.weights.items():
            narrowing = max(0.0, f.after - f.before)
            total += count * (narrowing + min(f.before, f.after) * (1 - f.kept_energy**2))
        return total + sum(count * f.width * f.law.relative_variance for f, count in self.diagonals.items())

    def step(
        self, log_m: NDArray, log_zeta: Sequence[NDArray], target: NDArray | float, *, sharp: bool = False
    ) -> Step:
        """Evaluate the equations at log(-M) and log(-zeta), all (num_points,), for log(-z) = `target`.

        `sharp` takes the nodes of every slope law for atoms, as is right away from the spectrum on the real axis.
        """
        minus = np.exp(log_m)
        moment, rest = -minus, -np.expm1(log_m)
        value, slope = np.log(rest) - log_m, moment / rest - 1
        for factors in (self.weights, self.closed):
            for factor, count in factors.items():
                log_s, elasticity = factor.log_s(moment)
                value, slope = value - count * log_s, slope - count * elasticity
        inner = []
        for (factor, count), log_point in zip(self.open.items(), log_zeta, strict=True):
            scaled, point = factor.width * moment, -np.exp(log_point)
            transform, derivative = factor.law.transform(point, sharp=sharp)
            # of log(-M / (live + M)), which is linear in log(-zeta) both where M vanishes and where all units respond
            live = factor.law.live
            residual = np.log(transform / scaled) + np.log((live + scaled) / (live + transform))
            elasticity = point * derivative / transform * live / (live + transform)
            response = live / (live + scaled)
            value = value + count * (np.log(-scaled) + log_point - np.log(1 + scaled) - residual / elasticity)
            slope = slope + count * (1 / (1 + scaled) + response / elasticity)
            inner.append((residual, elasticity, response))
        return Step(value - target, slope, inner)


def weight_factor(layer: LayerLaw, input_dim: int) -> WeightFactor:
    """Return the factor of the layer's weights in a network of `input_dim` inputs."""
    before, after = input_dim / layer.in_dim, input_dim / layer.out_dim
    ratio = layer.out_dim / layer.in_dim
    gain = layer.sigma_w2 * (ratio if layer.fan_in_scaled else min(1.0, ratio))
    return WeightFactor(layer.kept_energy, before, after, float(np.log(gain)))


def diagonal_laws(layers: Sequence[LayerLaw]) -> list[tuple[SlopeLaw, int]]:
    """Return the law of the product of all diagonal matrices that meet between two weight matrices, and its width."""
    met = [[layers[0].column_energies]]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        met.append([layer.slope, layer.row_energies, following and following.column_energies])
    dims = [layers[0].in_dim, *(layer.out_dim for layer in layers)]
    laws = []
    for group, dim in zip(met, dims, strict=True):
        present = [law for law in group if law is not None]
        if present:
            law = present[0]
            for other in present[1:]:
                law = law.times(other)
            if not (len(law.values) == 1 and law.values[0] == 1):
                laws.append((law, dim))
    return laws
