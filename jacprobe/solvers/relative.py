"""Every singular value of a product of factors to full relative accuracy, however small: product-QR and Jacobi."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.linop import Diagonal, Matrix, Product, Selection
from jacprobe.randomness import make_generator
from jacprobe.solvers.exact import Cost
from jacprobe.solvers.generic_rank import generic_ranks, units_on_paths
from jacprobe.solvers.inputs import of_inputs
from jacprobe.solvers.jacobi import graded, graded_values
from jacprobe.solvers.steps import CURE, LARGEST, STEEPEST, gentle_steps, log_range
from jacprobe.solvers.threads import threaded

_EPS = torch.finfo(torch.float64).eps
_SLICE = 2.0**28  # bytes of the blocks that are worked on at a time
_BLOCKS = 8  # of the size of a basis that live at a time
_SAFETY = 10.0  # times the change between two sweeps
_SHAKEN = 3.0  # units in the last place of the size of a step: more than rounding, so that few draws hide it
_UNKNOWN = 0.1  # error of a logarithm from which on the value may be rounding alone
_SWEEPS = 5  # of which most products need no more


class LogValues(NamedTuple):
    """Natural logarithms of singular values, and how far off they are.

    logs
        float64 (num_inputs, min(out_dim, in_dim)), decreasing; -inf for zeros, structural or not.
    error
        float64 (num_inputs,): bound on the error of every logarithm that is no structural zero; infinite where one of
        them is not known, as for a rank that only cancellation lowers.
    floor
        float64 (num_inputs,): bound on the absolute error of every singular value, also where `error` is infinite.
    zeros
        int64 (num_inputs,): how many are zero by structure, that is for almost all products with the same zeros.
    """

    logs: Tensor
    error: Tensor
    floor: Tensor
    zeros: Tensor


def relative_singular_values(product: Product, num_inputs: int, *, max_sweeps: int = 12,
                             tolerance: float = 1e-9) -> LogValues:
    """Return the logarithms of all singular values of a product of factors, also of those that its matrix has lost.

    The product ``F_1 ... F_k`` is never formed. A sweep through the factors, ``F_i Q_{i+1} = Q_i R_i`` by QR
    decompositions, leaves a product of triangular factors, which is multiplied up with one scale per row, kept as a
    logarithm. One-sided Jacobi then finds its singular values with a small relative error each, clustered and repeated
    ones too. Every sweep goes the other way and starts from the vectors that the last one found; two sweeps that agree
    end it.

    Parameters
    ----------
    product
        (num_inputs or 1, out_dim, in_dim). Factors that are neither Matrix, Diagonal nor Selection are made explicit.
    num_inputs
        Rows of the result.
    max_sweeps
        Limit on the sweeps over all factors, at least 3.
    tolerance
        Largest difference of two logarithms, of two sweeps, that counts as agreement.

    Returns
    -------
    LogValues
        On the CPU. Their `error` is an estimate, to first order: what every step may lose by its condition, and ten
        times the largest change of a logarithm, both from one sweep to the next and when every step gets a random error
        that is larger than its rounding. The latter tells where the scales of factors oppose each other. Their `floor`
        is what a relative error of float64's unit in every step makes of the whole product.

    Raises
    ------
    ArgumentError
        `max_sweeps` or `tolerance` is out of range, or a factor does not fit memory as an explicit matrix.
    NonFiniteError
        A factor holds NaN or infinity.

    Notes
    -----
    Costs, per sweep and input, a product and a QR decomposition of a ``width x rank`` block per layer; three sweeps,
    and one that measures errors, suffice where the factors are well conditioned up to scales of their rows. Errors grow
    with the condition of single factors, not with that of the product.

    References
    ----------
    Bojanczyk, Nagy and Plemmons 1993, Block RLS using row Householder reflections, and Stewart 1997, On graded QR
    decompositions of products of matrices, for sweeps. Demmel and Veselić 1992, Jacobi's method is more accurate than
    QR; Drmač and Veselić 2008, New fast and accurate Jacobi SVD algorithm, for Jacobi on graded matrices.

    Examples
    --------
    >>> small = Diagonal(torch.tensor([[1e-200, 1.0]], dtype=torch.float64))
    >>> mixed = Matrix(torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64))
    >>> found = relative_singular_values(Product([small, small, mixed]), 1)
    >>> (found.logs / math.log(10)).round(decimals=4)  # the second is 1e-400 times the root of 2
    tensor([[ 1.5050e-01, -3.9985e+02]], dtype=torch.float64)
    """
    if max_sweeps < 3:
        raise ArgumentError(f"`max_sweeps` must be at least 3; got {max_sweeps}. Leave it out for 12.")
    if not tolerance > 0:
        raise ArgumentError(f"`tolerance` must be positive; got {tolerance}. Leave it out for 1e-9.")
    steps = gentle_steps(product)
    live = units_on_paths(steps)
    ranks = generic_ranks(steps, live)
    widest = max(units.shape[1] for units in live)
    bytes_per_rank = 8.0 * _BLOCKS * widest
    if bytes_per_rank * int(ranks.max()) > LARGEST:
        raise ArgumentError(f"`product` must have blocks that fit {LARGEST:.3g} bytes; got {widest} x"
                            f" {int(ranks.max())}, which need {bytes_per_rank * int(ranks.max()):.3g}. {CURE}")
    dim = min(product.shape[1:])
    logs = torch.full((len(ranks), dim), -math.inf, dtype=torch.float64, device="cpu")
    error, floor = torch.zeros(2, len(ranks), dtype=torch.float64, device="cpu")
    for rank in ranks.unique().tolist():
        few = max(1, int(_SLICE / (bytes_per_rank * max(1, rank))))
        for which in (ranks == rank).nonzero().flatten().split(few) if rank else ():
            mine = [of_inputs(step, which) for step in steps]
            units = [alive.expand(len(ranks), -1)[which].unsqueeze(2) for alive in live]
            found = _resolved(mine, units, rank, max_sweeps, tolerance)
            which = which.cpu()
            logs[which, :rank], error[which], floor[which] = (part.cpu() for part in found)
    zeros = dim - ranks.cpu()
    return LogValues(*(part.expand(num_inputs, *part.shape[1:]) for part in (logs, error, floor, zeros)))


def relative_cost(product: Product) -> Cost:
    """Return what the solver needs for one input; ``steps.explicit_bytes`` counts the factors."""
    widths = [product.shape[1], *(factor.shape[2] for factor in product.factors)]
    rank, operations = min(widths), 22.0 * min(widths) ** 3  # of Jacobi, and the QR decompositions before it
    for factor in product.factors:
        _, out_dim, in_dim = factor.shape
        parts = math.ceil(log_range(factor.entries) / STEEPEST) if isinstance(factor, Diagonal) else 1
        multiplied = 0 if isinstance(factor, (Diagonal, Selection)) else 2.0 * out_dim * in_dim * rank
        operations += multiplied + parts * (4.0 * out_dim * rank**2 + 2.5 * rank**3)
    return Cost(_SWEEPS * operations, 8.0 * _BLOCKS * max(widths) * rank)


def _resolved(steps: list[Product], live: list[Tensor], rank: int, max_sweeps: int,
              tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log-values (num_inputs, rank), errors and floors (num_inputs,) of inputs whose rank is `rank` in general."""
    sizes = [_log_size(step, *ends) for step, *ends in zip(steps, live, live[1:], strict=False)]
    there = list(zip((step.matmat for step in steps), live[1:], sizes, strict=True))
    back = list(zip((step.rmatmat for step in steps[::-1]), live[-2::-1], sizes[::-1], strict=True))
    start = torch.randn(live[0].shape[1], rank, generator=make_generator(0), dtype=torch.float64, device="cpu")
    swept = _sweep(there, start.to(live[0].device) * live[0])  # into the range, whose dimension is the rank
    before = best = torch.full_like(swept.logs, math.nan)
    error = torch.full_like(best[:, 0], math.inf)
    for number in range(1, max_sweeps):
        opposite, swept = swept, _sweep(back if number % 2 else there, swept.basis)
        values, unfinished = graded_values(swept.logs, swept.rows)
        change = (values - before).abs().amax(1).nan_to_num(nan=math.inf)
        rounding = _EPS * (8 * len(steps) * rank**0.5 + len(steps) ** 0.5 * values.abs())
        now = _SAFETY * change + rank * unfinished + rounding.amax(1) + swept.loss
        now = torch.where(now < _UNKNOWN, now, math.inf)
        best = torch.where(((now < error) | error.isinf()).unsqueeze(1), values, best)
        before, error = values, torch.minimum(error, now)
        if bool((change <= tolerance).all()):
            break
    shaken = _sweep(there if number % 2 else back, swept.basis, make_generator(1))
    shift = (graded_values(shaken.logs, shaken.rows)[0] - best).abs().amax(1).nan_to_num(nan=math.inf)
    error = error + _SAFETY * shift
    error = torch.where(error < _UNKNOWN, error, math.inf)
    of_steps = torch.stack(swept.heights[:-1]) + torch.stack(opposite.heights[-2::-1]) + swept.sizes
    floor = _EPS * of_steps.exp().sum(0) + (rounding * values.exp()).nan_to_num(nan=0.0).amax(1)
    return best, error, floor


class _Swept(NamedTuple):
    """What a sweep found.

    basis
        (num_inputs, width, rank), orthonormal, of where it arrived, in decreasing order of `logs`.
    logs, rows
        The triangular product as ``exp(logs)`` times `rows`, (num_inputs, rank) and (num_inputs, rank, rank) with rows
        of length 1.
    heights
        Logarithms of the norm of the product of the first steps, of none to all, (num_inputs,) each.
    sizes
        Those of the steps, (num_steps, num_inputs).
    loss
        (num_inputs,) sum over the steps of the relative error that rounding may cause: float64's unit times the size
        of the step over the smallest thing that it does.
    """

    basis: Tensor
    logs: Tensor
    rows: Tensor
    heights: list[Tensor]
    sizes: Tensor
    loss: Tensor


def _sweep(walk: list[tuple], basis: Tensor, shaking: torch.Generator | None = None) -> _Swept:
    """Carry `basis`, (num_inputs, width, rank), through all steps: their products, live units and sizes.

    With `shaking`, every product gets a random error of the size of rounding, so that what sweeps with like rounding
    errors do not show comes to light; the same for all inputs.
    """
    num_inputs, _, rank = basis.shape
    logs = torch.zeros(num_inputs, rank, dtype=torch.float64, device=basis.device)
    eye = rows = torch.eye(rank, dtype=torch.float64, device=basis.device)
    heights, loss = [_log_norm(logs)], torch.zeros_like(logs[:, 0])
    for apply, alive, size in walk:
        block, width = apply(basis), alive.shape[1]
        if shaking is not None:
            error = torch.randn(width, rank, generator=shaking, dtype=torch.float64, device="cpu").to(block.device)
            block = block + _SHAKEN * _EPS * width**-0.5 * size.exp()[:, None, None] * error
        block = block * alive
        packed = threaded(lambda part: torch.cat(torch.linalg.qr(part), dim=1), block, 4.0 * width * rank**2)
        basis, triangles = packed[:, :width], packed[:, width:]
        logs, rows = graded(triangles, logs, rows)
        heights.append(_log_norm(logs))
        inverses = torch.linalg.solve_triangular(triangles / size.exp()[:, None, None], eye, upper=True)
        loss = loss + _EPS * torch.linalg.matrix_norm(inverses).nan_to_num(nan=math.inf)
    order = logs.argsort(1, descending=True)
    basis = basis.gather(2, order.unsqueeze(1).expand_as(basis))
    return _Swept(basis, logs, rows, heights, torch.stack([size.expand(num_inputs) for *_, size in walk]), loss)


def _log_norm(logs: Tensor) -> Tensor:
    """Logarithm of the Frobenius norm of ``exp(logs)`` times rows of length 1."""
    return torch.logsumexp(2 * logs, 1) / 2


def _log_size(step: Product, entered: Tensor, left: Tensor) -> Tensor:
    """Logarithm of the Frobenius norm of a step between its live units, (num_inputs,), without overflow."""
    scale, squares = 0.0, []
    for factor in step.factors:
        if isinstance(factor, Selection):
            squares.append(factor)
            continue
        entries = factor.entries if isinstance(factor, Diagonal) else factor.matrix
        largest = entries.abs().amax(1 if isinstance(factor, Diagonal) else (0, 1), keepdim=True)
        scale, entries = scale + largest.log().squeeze(1), (entries / largest).square()
        squares.append(Diagonal(entries) if isinstance(factor, Diagonal) else Matrix(entries, copies=factor.copies))
    return scale + (Product(squares).matmat(entered.double()) * left).sum((1, 2)).log() / 2
