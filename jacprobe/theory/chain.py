"""Networks described without a model: chains of layers by a few numbers, and residual networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory.activations import Activation, activation
from jacprobe.theory.gaussian import check_length
from jacprobe.theory.layerlaw import KEPT_ENERGY, LayerLaw
from jacprobe.theory.layerwise import kept_energy
from jacprobe.theory.meanfield import check_variances
from jacprobe.theory.residuallaw import residual_edges
from jacprobe.theory.stage import Stage

_BRANCHES = ("linear", "fresh")


@dataclass(frozen=True)
class Chain:
    """A fully connected random network by its hyperparameters.

    Attributes
    ----------
    widths
        From the input to the output: one more than there are layers.
    activation
        As for ``activation``; behind every layer, but behind the last only with `output_activation`.
    weights
        "gaussian" (any independent entries) or "orthogonal".
    sigma_w2
        Of the dense weights: variance times fan-in of Gaussian ones, mean square of the singular values of orthogonal
        ones. A number, or one for each layer.
    sigma_b2
        Variance of the biases.
    q0
        Mean square of the inputs.
    density
        Share of the weights that a mask keeps; a number, or one for each layer.
    pattern
        Of the mask: "random", or "magnitude" for the largest weights.
    rescaled
        Whether the kept weights are divided by the root of the kept energy, so that sigma_w2 is that of the mask too.
    output_activation
        Whether the last layer has one.

    Raises
    ------
    ArgumentError, UnknownNameError, DtypeError
        A value is out of its domain.

    Examples
    --------
    >>> chain = Chain([300] * 5, "tanh", "orthogonal", density=0.5, pattern="magnitude")
    >>> [round(stage.weight, 4) for stage in chain.stages()]
    [0.9287, 0.9287, 0.9287, 0.9287]
    """

    widths: Sequence[int]
    activation: str | Activation | nn.Module | Callable = "linear"
    weights: str = "gaussian"
    sigma_w2: float | Sequence[float] = 1.0
    sigma_b2: float = 0.0
    q0: float = 1.0
    density: float | Sequence[float] = 1.0
    pattern: str = "random"
    rescaled: bool = False
    output_activation: bool = False

    def __post_init__(self):
        if len(self.widths) < 2:
            raise ArgumentError(f"`widths` must be at least two, input and output; got {list(self.widths)}. List one "
                                "more than there are layers.")
        if self.weights not in KEPT_ENERGY:
            raise UnknownNameError("weights", self.weights, KEPT_ENERGY)
        check_length("q0", self.q0, positive=True)
        activation(self.activation)
        for sigma_w2, density in zip(self._each("sigma_w2"), self._each("density"), strict=True):
            check_variances(sigma_w2, self.sigma_b2)
            if not kept_energy(density, pattern=self.pattern):
                raise ArgumentError(f"`density` must be positive; got {density}. No signal passes a layer without "
                                    "weights.")

    def stages(self) -> list[Stage]:
        """Return the layers with their lengths, named fc1, fc2 and so on."""
        phi = activation(self.activation)
        phi = None if phi.name == "linear" else phi
        stages, square = [], self.q0
        sizes, variances, densities = list(pairwise(self.widths)), self._each("sigma_w2"), self._each("density")
        layers = zip(sizes, variances, densities, strict=True)
        for number, ((in_dim, out_dim), sigma_w2, density) in enumerate(layers, start=1):
            kept = kept_energy(density, pattern=self.pattern)
            weight = self.weights if kept == 1 or self.weights == "gaussian" else kept
            scaled = sigma_w2 * (1 if self.rescaled else kept)
            bare = Stage(f"fc{number}", out_dim, in_dim, weight, scaled)
            last = number == len(sizes) and not self.output_activation
            stage = Stage(bare.name, out_dim, in_dim, weight, scaled, bare.variance * square + self.sigma_b2,
                          self.sigma_b2, None if last else phi)
            square = stage.mean_square()
            stages.append(stage)
        return stages

    def _each(self, name: str) -> list[float]:
        value, depth = getattr(self, name), len(self.widths) - 1
        values = [float(value)] * depth if isinstance(value, int | float) else list(map(float, value))
        if len(values) != depth:
            raise ArgumentError(f"`{name}` must be one number or one for each of {depth} layers; got {len(values)}. "
                                "Count the layers, not the widths.")
        return values


@dataclass(frozen=True)
class Residual:
    """A residual network of equal layers whose Jacobian is a product of I + X with independent X.

    Attributes
    ----------
    width, depth
        Of the network.
    branch_gain
        ``sigma_w2 E[phi'^2]`` of every branch.
    branch
        "linear": ``x + W x`` with Gaussian W, exact at every depth. "fresh": ``x + phi(W x + b)`` with any activation
        and Gaussian or orthogonal W, in the limit of many layers with a fixed sum of branch gains. Pre-activation
        networks ``h + W phi(h)`` follow neither, as their gates persist: see ``persistent_gates_variance``.

    Raises
    ------
    ArgumentError, UnknownNameError
        A value is out of its domain.

    References
    ----------
    Tarnowski et al. 2019, Dynamical isometry is achieved in residual networks in a universal way for any activation
    function.
    """

    width: int
    depth: int
    branch_gain: float
    branch: str = "linear"

    def __post_init__(self):
        if self.branch not in _BRANCHES:
            raise UnknownNameError("branch", self.branch, _BRANCHES)
        if isinstance(self.depth, bool) or int(self.depth) != self.depth or self.depth < 1:
            raise ArgumentError(f"`depth` must be a positive integer; got {self.depth!r}. It counts the layers.")
        residual_edges(self.branch_gain)
        self.layer()

    def layer(self) -> LayerLaw:
        """Return the law of one layer ``I + W`` with Gaussian W."""
        return LayerLaw(self.width, self.width, 1 / (1 + self.branch_gain), 1 + self.branch_gain)

    def stages(self) -> list[Stage]:
        """Return the layers, named block1, block2 and so on."""
        return [Stage.of_law(f"block{number}", self.layer()) for number in range(1, int(self.depth) + 1)]

    @property
    def total_gain(self) -> float:
        """Sum of the branch gains."""
        return math.fsum([self.branch_gain] * int(self.depth))
