"""The distribution of all singular values by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, BudgetError, ShapeError
from jacprobe.linop import LinearOperator
from jacprobe.results.density import Density
from jacprobe.solvers.golub_kahan import GolubKahan, quadrature
from jacprobe.solvers.inputs import of_inputs
from jacprobe.solvers.probes import Streams, base_seed

_CACHED = 2**21  # bytes of a block of vectors that stays in the cache of a CPU between the operations of a step
_BLOCKS = 6  # blocks of vectors that a product holds besides the bases


def num_products(num_probes: int, num_steps: int) -> int:
    """Return how many vectors per input are multiplied with J or its transpose."""
    return num_probes * (2 * num_steps - 1)


def bytes_per_chain(out_dim: int, in_dim: int, num_steps: int, itemsize: int) -> int:
    """Return the memory of one probe of one input while it runs."""
    return (num_steps + _BLOCKS) * (out_dim + in_dim) * itemsize


def density(
    operator: LinearOperator,
    num_inputs: int,
    *,
    num_probes: int,
    num_steps: int,
    seed: int | torch.Generator,
    live: tuple[Tensor, Tensor] | None = None,
    frobenius: Tensor | None = None,
    first_input: int = 0,
    memory: float = float("inf"),
    progress: Callable[[int], object] | None = None,
) -> Density:
    """Return the estimated distribution of the singular values of each input's matrix.

    Probes are uniform on the sphere of the side, rows or columns, that has fewer live coordinates: then the
    structural zeros are exact, and the probes see the other values alone. How the work is split changes results by
    rounding only.

    Parameters
    ----------
    operator
        (num_inputs or 1, out_dim, in_dim).
    num_inputs
        How many rows the result has; where one matrix serves all inputs, they are equal and cost as much as one.
    num_probes, num_steps
        Probes per input, and steps of each; ``num_products`` says what they cost.
    seed
        Of the probes; input i of the result takes those of number ``first_input + i``.
    live
        bool (num_inputs or 1, out_dim) and (num_inputs or 1, in_dim): rows and columns that are not zero by structure;
        None where all are live.
    frobenius
        (num_inputs,) exact Frobenius norms, where they are known.
    first_input
        Number of the first input in a larger run, so that its parts use the probes of the whole.
    memory
        Bytes that bases and products may take; probes, then inputs, are split to keep to it.
    progress
        Called now and then with the number of probes that are finished since the last call.

    Raises
    ------
    ArgumentError, ShapeError
        `num_probes` or `num_steps` is under 1, or a mask has the wrong shape.
    BudgetError
        Not even one probe of one input fits into `memory`.
    NonFiniteError
        A product holds NaN or infinity.

    References
    ----------
    Ubaru, Chen and Saad 2017, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature; with Golub-Kahan
    bidiagonalisation, so that nothing is squared.
    """
    for name, value in (("num_probes", num_probes), ("num_steps", num_steps)):
        if value < 1:
            raise ArgumentError(f"`{name}` must be at least 1; got {value}. Try 10 probes of 40 steps.")
    seed = base_seed(seed)
    dim = min(operator.shape[1:])
    num_rows = 1 if operator.shape[0] == 1 and operator.broadcasts else num_inputs  # equal inputs are one
    rows, columns = _live(operator, num_rows, live)
    counts = torch.minimum(rows.sum(1), columns.sum(1))
    by_rows = rows.sum(1) < columns.sum(1)
    nodes, weights = (torch.zeros(num_rows, num_probes, num_steps, dtype=torch.float64) for _ in range(2))
    for side, alive, chosen in ((operator.T, rows, by_rows), (operator, columns, ~by_rows)):
        few, several = _batches(side, int(chosen.sum()), num_probes, num_steps, memory)
        for part in chosen.nonzero().flatten().split(few):
            if len(part) == 0:
                continue
            own = side if len(part) == num_rows else of_inputs(side, part.to(side.device))
            steps = max(1, min(num_steps, int(counts[part].max())))
            streams = Streams(seed, tuple((first_input + part).tolist()))
            for probes, *found in _runs(own, alive[part], streams, num_probes, several, steps):
                for kept, values in zip((nodes, weights), found, strict=True):
                    kept[part[:, None], probes, :steps] = values
                if progress is not None:
                    progress(len(part) * len(probes))
    shape = (num_inputs, num_probes, num_steps)
    frobenius = None if frobenius is None else frobenius.double().cpu().expand(num_inputs)
    zeros = (dim - counts).expand(num_inputs)
    return Density(nodes.expand(shape), weights.expand(shape), dim, zeros, frobenius, seed)


def _runs(operator: LinearOperator, alive: Tensor, streams: Streams, num_probes: int, several: int,
          num_steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the numbers of some probes, with their nodes and weights, (num_inputs, few, num_steps), until all ran."""
    solver = None
    for probes in torch.arange(num_probes).split(several):
        if solver is None or len(probes) != several:
            solver = GolubKahan(operator, len(alive), len(probes), num_steps)
        starts = streams.gaussian(probes.tolist(), alive.shape[1]).mul_(alive.unsqueeze(1))
        yield probes, *quadrature(solver.run(starts.to(dtype=operator.dtype, device=operator.device)))


def _live(operator: LinearOperator, num_rows: int, live: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return which rows and columns are live, (num_rows, out_dim) and (num_rows, in_dim), on the CPU."""
    dims = operator.shape[1:]
    if live is None:
        live = tuple(torch.ones(1, dim, dtype=torch.bool) for dim in dims)
    for mask, dim in zip(live, dims, strict=True):
        if mask.dtype != torch.bool or mask.ndim != 2 or mask.shape[0] not in (1, num_rows) or mask.shape[1] != dim:
            raise ShapeError(f"`live` must hold bool masks of shape (1 or {num_rows}, {dim}); got {mask.dtype}"
                             f" {tuple(mask.shape)}. Give those of rows, then of columns.")
    return tuple(mask.cpu().expand(num_rows, -1) for mask in live)


def _batches(operator: LinearOperator, num_inputs: int, num_probes: int, num_steps: int,
             memory: float) -> tuple[int, int]:
    """Return how many inputs and how many of their probes to run at a time."""
    _, out_dim, in_dim = operator.shape
    itemsize = operator.dtype.itemsize
    each = bytes_per_chain(out_dim, in_dim, num_steps, itemsize)
    if each > memory:
        raise BudgetError(f"`memory` must hold one probe of {num_steps} steps, {each / 2**30:.3g} GiB; got"
                          f" {memory / 2**30:.3g} GiB. Take fewer steps or allow more.")
    few = max(1, int(min(num_inputs, memory / each)))
    several = min(num_probes, memory / (few * each))
    if operator.device.type == "cpu":
        several = min(several, max(1, _CACHED // (few * max(out_dim, in_dim) * itemsize)))
    return few, math.ceil(num_probes / math.ceil(num_probes / several))
