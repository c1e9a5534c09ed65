"""Mean square and relative variance of the singular values from a few products, for operators of any size."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, BudgetError, NonFiniteError
from jacprobe.linop import LinearOperator
from jacprobe.results.moments import Moments
from jacprobe.solvers.inputs import of_inputs
from jacprobe.solvers.probes import Streams, base_seed
from jacprobe.solvers.scaling import normalised

_BLOCKS = 3  # blocks of vectors on either side that are held at a time


def num_products(num_probes: int) -> int:
    """Return how many vectors per input are multiplied with J or its transpose."""
    return 2 * num_probes


def bytes_per_probe(out_dim: int, in_dim: int, itemsize: int) -> int:
    """Return the memory of one probe of one input."""
    return _BLOCKS * (out_dim + in_dim) * itemsize


@torch.no_grad()
def moments(
    operator: LinearOperator,
    num_inputs: int,
    *,
    num_probes: int,
    seed: int | torch.Generator,
    first_input: int = 0,
    memory: float = math.inf,
    progress: Callable[[int], object] | None = None,
) -> Moments:
    """Return the first two moments of the squared singular values of each input's matrix J.

    For a random vector z of signs, ``||J z||^2`` has the mean ``||J||_F^2``, the sum of all s^2, and ``||J'J z||^2``
    has the sum of all s^4. Signs have the smallest variance of all such vectors with independent entries, and none
    where J'J is diagonal. They stand on the smaller side of J. Standard errors, and a correction of the bias of the
    ratio, come from leaving out one probe at a time.

    Parameters
    ----------
    operator
        (num_inputs or 1, out_dim, in_dim).
    num_inputs
        How many rows the result has; where one matrix serves all inputs, they are equal and cost as much as one.
    num_probes
        Per input; the cost is ``num_products`` products. With one probe the standard errors are NaN.
    seed, first_input, memory, progress
        As in ``jacprobe.solvers.density.density``.

    Raises
    ------
    ArgumentError
        `num_probes` is under 1.
    BudgetError
        Not even one probe of one input fits into `memory`.
    NonFiniteError
        A product holds NaN or infinity.

    References
    ----------
    Hutchinson 1989, A stochastic estimator of the trace of the influence matrix. Efron and Stein 1981, The jackknife
    estimate of variance.
    """
    if num_probes < 1:
        raise ArgumentError(f"`num_probes` must be at least 1; got {num_probes}. Try 10.")
    seed = base_seed(seed)
    side = operator if operator.shape[2] <= operator.shape[1] else operator.T
    num_rows = 1 if operator.shape[0] == 1 and operator.broadcasts else num_inputs  # equal inputs are one
    each = bytes_per_probe(*side.shape[1:], side.dtype.itemsize)
    if each > memory:
        raise BudgetError(f"`memory` must hold the products of one probe, {each / 2**30:.3g} GiB; got"
                          f" {memory / 2**30:.3g} GiB. Allow more.")
    few = int(min(num_rows, memory / each))
    several = int(min(num_probes, memory / (few * each)))
    second, fourth = (torch.zeros(num_rows, num_probes, dtype=torch.float64) for _ in range(2))
    for part in torch.arange(num_rows).split(few):
        own = side if len(part) == num_rows else of_inputs(side, part.to(side.device))
        streams = Streams(seed, tuple((first_input + part).tolist()))
        for probes in torch.arange(num_probes).split(several):
            signs = streams.signs(probes.tolist(), side.shape[2]).to(dtype=side.dtype, device=side.device)
            unit, once, scale = normalised(own, signs.mT)
            twice = unit.rmatmat(once)
            second[part[:, None], probes] = _squared(once) * scale[:, None] ** 2
            fourth[part[:, None], probes] = _squared(twice) * scale[:, None] ** 4
            if progress is not None:
                progress(len(part) * len(probes))
    if not bool(second.isfinite().all() and fourth.isfinite().all()):
        raise NonFiniteError("`operator` must have finite products; one holds NaN or infinity."
                             " Check the inputs and the scale of the weights.")
    return _of_sums(second.expand(num_inputs, -1), fourth.expand(num_inputs, -1), side.shape[2], seed)


def _squared(block: Tensor) -> Tensor:
    """Return the squared length of every column, float64 on the CPU, (num_inputs, dim, k) -> (num_inputs, k)."""
    return torch.linalg.vector_norm(block.mT, dim=2).double().square().cpu()


def _of_sums(second: Tensor, fourth: Tensor, dim: int, seed: int) -> Moments:
    """Return the moments from each probe's estimates of the sums of s^2 and s^4, (num_inputs, num_probes)."""
    num_probes = second.shape[1]
    ratio = dim * fourth.mean(1) / second.mean(1).square() - 1  # 0 / 0 is NaN, as it should
    ratio_error = torch.full_like(ratio, math.nan)
    mean_error = ratio_error
    if num_probes > 1:
        mean_error = second.std(1) / math.sqrt(num_probes) / dim
        others = [(sums.sum(1, keepdim=True) - sums) / (num_probes - 1) for sums in (second, fourth)]
        without = dim * others[1] / others[0].square() - 1
        ratio = num_probes * ratio - (num_probes - 1) * without.mean(1)
        ratio_error = without.std(1) * (num_probes - 1) / math.sqrt(num_probes)
    return Moments(second.mean(1) / dim, mean_error, ratio, ratio_error, num_probes, seed)
