"""The largest singular values with what is proven about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, BudgetError
from jacprobe.linop import LinearOperator
from jacprobe.solvers.golub_kahan import EXHAUSTED
from jacprobe.solvers.inputs import of_inputs
from jacprobe.solvers.probes import Streams, base_seed
from jacprobe.solvers.scaling import normalised
from jacprobe.solvers.thick_restart import Ritz, ThickRestart

BLOCK = 2  # by default: the fewest products of all blocks that can tell a repeated value from a single one
_KEPT = 6  # share of the other vectors that a restart keeps: more of them hardly help, and cost a rotation
_STEPS_PER_CHECK = 4
_COPIES = 16.0  # times eps and the largest value: distance of two approximations of one value
_ROUNDING = 32.0  # times eps and the largest value: floating-point error that intervals allow for, besides what is seen


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest singular values of each input; float64 tensors (num_inputs, num_values) on the CPU.

    Attributes
    ----------
    values
        Approximations, decreasing.
    residuals
        Radius of an interval around each value that contains some singular value, rounding included: the norm of the
        residuals of its vectors over sqrt(2). It does not prove which one.
    lower
        The i-th largest singular value is at least this, by Cauchy's interlacing, rounding allowed for.
    upper
        The i-th largest singular value is at most this: the smallest of the bounds that apply. From the Frobenius norm,
        or where the Krylov space is complete, it is rigorous but for rounding; else it comes from a random start and
        bounds the largest value (and so all), for all inputs at once with probability ``1 - failure``.
    failure
        Chance that some upper end does not hold; 0 where none rests on chance.
    products
        Vectors per input that were multiplied with J or its transpose.
    converged
        bool: whether the residual came under the tolerance.
    """

    values: Tensor
    residuals: Tensor
    lower: Tensor
    upper: Tensor
    failure: float
    products: int
    converged: Tensor


def bytes_per_input(out_dim: int, in_dim: int, num_values: int, itemsize: int, block: int | None = None) -> int:
    """Return the memory of one input with a basis of the preferred size."""
    block = BLOCK if block is None else block
    return _bytes(out_dim, in_dim, _preferred(num_values, block), num_values, block, itemsize)


@torch.no_grad()
def largest(
    operator: LinearOperator,
    num_inputs: int,
    *,
    num_values: int,
    tolerance: float,
    seed: int | torch.Generator,
    block: int | None = None,
    memory: float = math.inf,
    max_products: int | None = None,
    failure: float = 0.01,
    frobenius: Tensor | None = None,
    first_input: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Largest:
    """Return the largest singular values of each input's matrix.

    A value that is repeated more often than the block is wide may be hidden: therefore, where a whole block of values
    coincides, random directions are added and the search goes on as long again, until no further copies can matter.

    Parameters
    ----------
    operator
        (num_inputs or 1, out_dim, in_dim).
    num_inputs
        How many rows the result has; where one matrix serves all inputs, they are equal and cost as much as one.
    num_values
        How many; at most min(out_dim, in_dim) are returned.
    tolerance
        Largest residual, in units of the largest value; the values themselves are usually far more accurate.
    seed, first_input, memory, progress
        As in ``jacprobe.solvers.density.density``; `progress` receives products.
    block
        Vectors that are multiplied at a time; at least the multiplicity of the values to expect.
    max_products
        Per input, after which what was found is returned; 5000 + 100 per value by default.
    failure
        Chance that the random upper bound of some input does not hold.
    frobenius
        (num_inputs,) exact Frobenius norms, where they are known.

    Raises
    ------
    ArgumentError
        `num_values`, `block` or `tolerance` is not positive, or `failure` no probability.
    BudgetError
        The smallest sensible basis of one input does not fit into `memory`.
    NonFiniteError
        A product holds NaN or infinity.

    References
    ----------
    Kuczynski and Wozniakowski 1992, Estimating the largest eigenvalue by the power and Lanczos algorithms with a random
    start, Theorem 4.2.
    """
    block = BLOCK if block is None else block
    for name, value in (("num_values", num_values), ("block", block), ("tolerance", tolerance)):
        if not value > 0:
            raise ArgumentError(f"`{name}` must be positive; got {value!r}. Try 6 values, no block and 1e-4.")
    if not 0 < failure < 1:
        raise ArgumentError(f"`failure` must lie between 0 and 1; got {failure!r}. It is a probability.")
    seed = base_seed(seed)
    num_rows = 1 if operator.shape[0] == 1 and operator.broadcasts else num_inputs  # equal inputs are one
    side = operator if operator.shape[2] <= operator.shape[1] else operator.T
    num_values = min(num_values, side.shape[2])
    search = _Search(side, num_values, tolerance, min(block, side.shape[2]),
                     5000 + 100 * num_values if max_products is None else max_products, failure / num_rows, progress)
    few, capacity = search.plan(num_rows, memory)
    norms = None if frobenius is None else frobenius.double().cpu().expand(num_rows)
    parts = []
    for part in torch.arange(num_rows).split(few):
        own = side if len(part) == num_rows else of_inputs(side, part.to(side.device))
        streams = Streams(seed, tuple((first_input + part).tolist()))
        parts.append(_unscaled(search, own, streams, capacity, None if norms is None else norms[part]))
    joined = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Largest)}
    tensors = {name: torch.cat(values).expand(num_inputs, -1) for name, values in joined.items()
               if isinstance(values[0], Tensor)}
    chance = failure if any(part.failure for part in parts) else 0.0
    return Largest(**tensors, failure=chance, products=max(joined["products"]))


def _unscaled(search: _Search, operator: LinearOperator, streams: Streams, capacity: int,
              frobenius: Tensor | None) -> Largest:
    """Return what the `search` finds for inputs that are run together, on matrices whose norm is near 1."""
    probe = streams.gaussian([0], operator.shape[2]).to(dtype=operator.dtype, device=operator.device)
    operator, _, scale = normalised(operator, probe.mT)
    if search.progress is not None:
        search.progress(len(scale))
    found = search.run(operator, streams, capacity, None if frobenius is None else frobenius / scale)
    scaled = {name: getattr(found, name) * scale[:, None] for name in ("values", "residuals", "lower", "upper")}
    return replace(found, **scaled, products=found.products + 1)


@dataclass(frozen=True)
class _Search:
    """What is looked for, with how much effort."""

    operator: LinearOperator  # out_dim >= in_dim
    num_values: int
    tolerance: float
    block: int
    max_products: int
    failure: float  # of one input
    progress: Callable[[int], object] | None

    def plan(self, num_inputs: int, memory: float) -> tuple[int, int]:
        """Return how many inputs to run at a time, and how many vectors their bases hold."""
        _, out_dim, in_dim = self.operator.shape

        def needed(capacity: int) -> int:
            return _bytes(out_dim, in_dim, capacity, self.num_values, self.block, self.operator.dtype.itemsize)

        preferred = min(in_dim, _preferred(self.num_values, self.block))
        least = min(in_dim, self.num_values + 3 * self._widest)
        if needed(least) > memory:
            raise BudgetError(f"`memory` must hold the basis for {self.num_values} values,"
                              f" {needed(least) / 2**30:.3g} GiB; got {memory / 2**30:.3g} GiB. Ask for fewer values.")
        capacity = preferred
        while needed(capacity) > memory:
            capacity = max(least, capacity * 3 // 4)
        return int(min(num_inputs, memory / needed(capacity))), capacity

    @property
    def _widest(self) -> int:
        """Vectors that a block may grow to: then all the values that are asked for may be copies of one."""
        return max(self.block, self.num_values)

    def run(self, operator: LinearOperator, streams: Streams, capacity: int, frobenius: Tensor | None) -> Largest:
        """Return the values of inputs that are run together."""
        bases = ThickRestart(operator, streams, capacity=capacity, block=self.block, room=self._widest)
        patience, columns = 0, self.block
        while True:
            ritz = self._grown(bases)
            reached = ritz.residuals[:, : self.num_values] <= self.tolerance * ritz.values[:, :1]
            if bases.size == operator.shape[2] or bases.num_products >= self.max_products:
                break
            extra = 0
            if reached.all() and bases.num_products >= patience:
                if not self._hides_copies(ritz, columns):
                    break
                patience, extra = 2 * bases.num_products, min(columns, self._widest - columns)
                columns += extra
            wanted = min(bases.width + extra, operator.shape[2] - bases.size)
            if bases.size + wanted > capacity:
                spare = capacity - wanted - self.num_values
                bases.restart(ritz, self.num_values + spare // _KEPT)
            bases.widen(extra)
        return self._judged(operator, bases, ritz, frobenius)

    def _grown(self, bases: ThickRestart) -> Ritz:
        """Expand the bases until it is time to look at them."""
        in_dim, steps = bases.operator.shape[2], 0
        while True:
            before, steps = bases.num_products, steps + 1
            bases.expand()
            if self.progress is not None:
                self.progress(len(bases.complete) * (bases.num_products - before))
            enough = bases.size >= min(self.num_values + self.block, in_dim)
            last = bases.size + bases.width > bases.capacity or bases.num_products >= self.max_products
            if bases.size == in_dim or (enough and (last or steps >= _STEPS_PER_CHECK)):
                return bases.ritz()

    def _hides_copies(self, ritz: Ritz, columns: int) -> bool:
        """Whether some value is found as often as directions were tried, and further copies would displace others."""
        values, radii = ritz.values, ritz.residuals / 10
        close = _COPIES * torch.finfo(self.operator.dtype).eps * values[:, :1, None]
        close = close + radii[:, :, None] + radii[:, None, :]
        copies = ((values[:, :, None] - values[:, None, :]).abs() <= close).sum(2)
        last = self.num_values - 1
        matters = values > values[:, last : last + 1] + close[:, :, last]
        return bool((matters & (copies >= columns)).any())

    def _judged(self, operator: LinearOperator, bases: ThickRestart, ritz: Ritz, frobenius: Tensor | None) -> Largest:
        """Return the values with what their vectors and the history of the search prove."""
        values = ritz.values[:, : self.num_values]
        left, right = bases.vectors(ritz, self.num_values)
        image, back = operator.matmat(right.mT).mT, operator.rmatmat(left.mT).mT
        factors = values.to(left).unsqueeze(2)
        residuals = torch.hypot(_lengths(image - factors * left), _lengths(back - factors * right))
        residuals = torch.where(values > 0, residuals / math.sqrt(2), residuals)
        mismatch = ((left * image).sum(2) - (right * back).sum(2)).abs().amax(1, keepdim=True).double().cpu()
        eps = torch.finfo(operator.dtype).eps
        rounding = _ROUNDING * eps * values[:, :1] + 10 * mismatch
        lower = (values - rounding).clamp(min=0)
        upper, failure = self._upper(bases, ritz, frobenius, lower, rounding)
        converged = residuals <= max(self.tolerance, _ROUNDING * eps) * values[:, :1]
        products = bases.num_products + 2 * self.num_values
        return Largest(values, residuals + rounding, lower, upper, failure, products, converged)

    def _upper(self, bases: ThickRestart, ritz: Ritz, frobenius: Tensor | None, lower: Tensor,
               rounding: Tensor) -> tuple[Tensor, float]:
        """Return the smallest upper ends, and the chance that they fail."""
        in_dim = bases.operator.shape[2]
        values = ritz.values[:, : self.num_values]
        if bases.size == in_dim:
            return values + rounding, 0.0
        certain = torch.full_like(values, math.inf)
        complete = EXHAUSTED * torch.finfo(bases.operator.dtype).eps * values[:, :1] + rounding
        certain[bases.complete] = (values[:, :1] + complete).expand_as(values)[bases.complete]
        if frobenius is not None:
            squares = lower.square()
            rest = frobenius.square()[:, None] - squares.sum(1, keepdim=True) + squares
            certain = torch.minimum(certain, rest.clamp(min=0).sqrt() + rounding)
        top = ritz.values[:, :1] if bases.top is None else bases.top[:, None]
        start = self.failure ** (1 / self.block)  # the vectors of a block start independently, and must all fail
        share = (math.log(1.648 * math.sqrt(in_dim) / start) / (2 * bases.num_steps - 1)) ** 2
        likely = top / math.sqrt(1 - share) + rounding if share < 1 else torch.full_like(top, math.inf)
        upper = torch.minimum(certain, likely).cummin(1).values
        return upper, 0.0 if bool((certain.cummin(1).values <= likely).all()) else self.failure


def _preferred(num_values: int, block: int) -> int:
    """Return a good number of basis vectors: more of them converge hardly sooner, and cost more per step."""
    return 2 * num_values + 20 * block


def _bytes(out_dim: int, in_dim: int, capacity: int, num_values: int, block: int, itemsize: int) -> int:
    """Return the memory of one input: both bases, the next block, and the blocks that a step or the end holds."""
    short, long = sorted((out_dim, in_dim))
    widest = max(num_values, block)
    return itemsize * (capacity * (short + long) + widest * (3 * short + 2 * long))


def _lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=2).double().cpu()
