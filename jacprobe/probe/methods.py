"""The ways to a spectrum: each solves a segment chunk by chunk, and says what its numbers are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from jacprobe.errors import NonFiniteError
from jacprobe.linop import Convolution, LinearOperator, Product, channels_last
from jacprobe.results import Density, Moments
from jacprobe.solvers.brackets import convolution_bounds, scaled_bounds
from jacprobe.solvers.density import density
from jacprobe.solvers.exact import ExactSolver
from jacprobe.solvers.explicit import is_explicit
from jacprobe.solvers.fourier import circular_values
from jacprobe.solvers.largest import largest
from jacprobe.solvers.liveness import live_ends
from jacprobe.solvers.moments import moments
from jacprobe.solvers.relative import relative_singular_values
from jacprobe.solvers.single import Single, channel_scaled, frobenius_norms, single

Parts = dict[str, Tensor]

_FAILURE = 1e-2  # chance that some upper end of a whole run does not hold
_TOP = 1e-2  # tolerance of the largest value inside its bracket


class Method(ABC):
    """How one segment is solved.

    Attributes
    ----------
    name
        For the result to say.
    label
        What its numbers are: "exact", "bounded" or "estimated".
    """

    name: str
    label: ClassVar[str]

    @abstractmethod
    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        """Return what is found for some inputs, the first of them number `first`: tensors of a row per input."""

    @abstractmethod
    def fields(self, parts: Parts) -> dict[str, object]:
        """Return the fields of a Spectrum that hold the parts of all inputs."""

    def takes(self, product: Product) -> bool:
        """Whether it can solve this product of factors: what a few samples told need not hold for all inputs."""
        return True

    def norm(self, parts: Parts) -> float:
        """Return the largest Frobenius norm of the Jacobians, for the bound on their rounding errors, or NaN."""
        return math.nan

    def error(self, operator: LinearOperator, parts: Parts) -> float:
        """Return a bound on what the method itself adds to the rounding errors of the Jacobian."""
        return 0.0


class Exact(Method):
    """All singular values, from factors or matrices."""

    label = "exact"

    def __init__(self, *, gram: bool):
        self.name = "gram float64" if gram else "svd float64"
        self._solver = ExactSolver(gram=gram)

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        values, zeros = self._solver(operator, num_inputs)
        return {"values": values, "zeros": zeros}

    def fields(self, parts: Parts) -> dict[str, object]:
        return parts

    def takes(self, product: Product) -> bool:
        return is_explicit(product)

    def norm(self, parts: Parts) -> float:
        return float(parts["values"].norm(dim=1).max())

    def error(self, operator: LinearOperator, parts: Parts) -> float:
        return self._solver.error(operator) * float(parts["values"].max())


class Fourier(Exact):
    """All singular values of a circular convolution, frequency by frequency."""

    def __init__(self):
        self.name = "fourier"

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        convolution, left, right = channel_scaled(operator)
        values, zeros = circular_values(convolution, left=left, right=right)
        return {"values": values.cpu().expand(num_inputs, -1), "zeros": torch.full((num_inputs,), zeros)}

    def takes(self, product: Product) -> bool:
        return channel_scaled(product) is not None

    def error(self, operator: LinearOperator, parts: Parts) -> float:
        return 1e-10 * float(parts["values"].max())


class Relative(Exact):
    """All singular values to full relative accuracy, by sweeps of QR decompositions over the factors."""

    name = "product-qr"

    def __init__(self):
        pass

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        found = relative_singular_values(operator, num_inputs)
        values = found.logs.exp()
        if not bool(values.isfinite().all()):
            raise NonFiniteError("`product` must have singular values that float64 holds; got"
                                 f" exp({float(found.logs.max()):.4g}). Scale its factors.")
        return {"values": values, "zeros": found.zeros, "relative_floor": found.error, "floor": found.floor}

    def fields(self, parts: Parts) -> dict[str, object]:
        worst = float(parts["relative_floor"].max())  # infinite where an input has values that may be rounding alone
        return {"values": parts["values"], "zeros": parts["zeros"],
                "relative_floor": worst if math.isfinite(worst) else math.nan}

    def error(self, operator: LinearOperator, parts: Parts) -> float:
        return float(torch.minimum(parts["floor"], parts["relative_floor"] * parts["values"][:, 0]).max())


class MatrixFree(Method):
    """What is common to the methods that only multiply: structure gives zero counts and norms, random probes the rest.

    Parameters
    ----------
    seed
        Of the probes.
    memory
        Bytes for the bases.
    """

    def __init__(self, *, seed: int, memory: float):
        self._seed, self._memory = seed, memory

    @staticmethod
    def _norms(operator: LinearOperator, num_inputs: int) -> Tensor | None:
        norms = frobenius_norms(operator)
        return None if norms is None else norms.cpu().expand(num_inputs)


class SpectralDensity(MatrixFree):
    """The distribution of all singular values, by stochastic Lanczos quadrature."""

    name, label = "lanczos quadrature", "estimated"

    def __init__(self, *, num_probes: int, num_steps: int, seed: int, memory: float):
        super().__init__(seed=seed, memory=memory)
        self._num_probes, self._num_steps = num_probes, num_steps

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        norms = self._norms(operator, num_inputs)
        operator = channels_last(operator)
        live = live_ends(operator) if isinstance(operator, Product) else None
        found = density(operator, num_inputs, num_probes=self._num_probes, num_steps=self._num_steps, seed=self._seed,
                        live=live, frobenius=norms, memory=self._memory, first_input=first)
        self._dim = found.dim
        norms = torch.full((num_inputs,), math.nan, dtype=torch.float64) if norms is None else norms
        return {"nodes": found.nodes, "weights": found.weights, "zeros": found.zeros, "frobenius": norms}

    def fields(self, parts: Parts) -> dict[str, object]:
        norms = parts["frobenius"]  # structure may tell those of some inputs only
        norms = None if norms.isnan().any() else norms
        return {"density": Density(parts["nodes"], parts["weights"], self._dim, parts["zeros"], norms, self._seed)}


class LargestValues(MatrixFree):
    """The largest singular values, with intervals; each of all `num_inputs` may fail with its share of the chance."""

    name, label = "golub-kahan-lanczos", "bounded"

    def __init__(self, *, num_values: int, num_inputs: int, seed: int, memory: float, tolerance: float):
        super().__init__(seed=seed, memory=memory)
        self._num_values, self._tolerance, self._failure = num_values, tolerance, _FAILURE / num_inputs

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        found = largest(channels_last(operator), num_inputs, num_values=self._num_values, tolerance=self._tolerance,
                        seed=self._seed, memory=self._memory, failure=self._failure * num_inputs,
                        frobenius=frobenius_norms(operator), first_input=first)
        chance = torch.full((num_inputs,), found.failure > 0)
        return {"values": found.values, "lower": found.lower, "upper": found.upper, "chance": chance}

    def fields(self, parts: Parts) -> dict[str, object]:
        confidence = 1 - _FAILURE * bool(parts["chance"].any())
        return {"values": parts["values"], "bounds": (parts["lower"], parts["upper"]), "confidence": confidence}


class TwoMoments(MatrixFree):
    """Mean square and relative variance of the singular values, from a few products."""

    name, label = "hutchinson", "estimated"

    def __init__(self, *, num_probes: int, seed: int, memory: float):
        super().__init__(seed=seed, memory=memory)
        self._num_probes = num_probes

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        found = moments(channels_last(operator), num_inputs, num_probes=self._num_probes, seed=self._seed,
                        memory=self._memory, first_input=first)
        return {name: getattr(found, name) for name in Moments.__annotations__ if name not in ("num_probes", "seed")}

    def fields(self, parts: Parts) -> dict[str, object]:
        return {"moments": Moments(**parts, num_probes=self._num_probes, seed=self._seed)}


class Brackets(MatrixFree):
    """Intervals of all singular values of a convolution between diagonals, by those of circular convolutions.

    A few Lanczos steps raise the lower end of the largest value.
    """

    name, label = "circular brackets", "bounded"

    def solve(self, operator: LinearOperator, num_inputs: int, first: int) -> Parts:
        found = single(operator)
        scaled = channel_scaled(operator)
        if scaled is not None:
            convolution, left, right = scaled
            lower, upper = (ends.unsqueeze(0) for ends in convolution_bounds(convolution, left=left, right=right))
        else:
            lower, upper = self._between(found)
        lower = lower.cpu().expand(num_inputs, -1).clone()
        top = largest(channels_last(operator), num_inputs, num_values=1, tolerance=_TOP, seed=self._seed,
                      memory=self._memory)
        lower[:, 0] = torch.maximum(lower[:, 0], top.lower[:, 0])
        return {"lower": lower, "upper": upper.cpu().expand(num_inputs, -1)}

    def takes(self, product: Product) -> bool:
        found = single(product)
        return found is not None and isinstance(found.factor, Convolution)

    @staticmethod
    def _between(found: Single) -> tuple[Tensor, Tensor]:
        """Scale the intervals of the convolution alone by the diagonals of each input."""
        lower, upper = (ends.unsqueeze(0) for ends in convolution_bounds(found.factor))
        for entries in (found.left, found.right):
            if entries is not None:
                scaled = [scaled_bounds(low, high, row.unsqueeze(0)) for low, high, row in zip(
                    lower.expand(len(entries), -1), upper.expand(len(entries), -1), entries, strict=True)]
                lower, upper = (torch.cat(ends) for ends in zip(*scaled, strict=True))
        return lower, upper

    def fields(self, parts: Parts) -> dict[str, object]:
        return {"bounds": (parts["lower"], parts["upper"])}
