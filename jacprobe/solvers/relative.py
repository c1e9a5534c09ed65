"""Every singular value of a product of factors to full relative accuracy, however small: product-QR and Jacobi."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product, Selection
from jacprobe.randomness import make_generator
from jacprobe.solvers.inputs import of_inputs
from jacprobe.solvers.liveness import pattern
from jacprobe.solvers.threads import one_blas_thread, threaded

_EPS = torch.finfo(torch.float64).eps
_RANGE = math.log(1e3)  # that the scales of one step may span, since a step loses that factor of accuracy
_LARGEST = 2.0**31  # bytes of one explicit factor, and of the blocks of one input
_SLICE = 2.0**28  # bytes of the blocks that are worked on at a time
_BLOCKS = 8  # of the size of a basis that live at a time
_TRANSPOSITIONS = 3  # of the triangular product before Jacobi: fewer rotations for the price of one QR each
_CACHED = 2**16  # numbers that are rotated at a time: they stay in the cache, and one thread is fastest
_ROUNDS = 40  # of Jacobi rotations; it converges quadratically, in two to five
_SAFETY = 10.0  # times the change between two sweeps
_UNKNOWN = 0.1  # change of a logarithm that says that the value is rounding
_TINY = torch.finfo(torch.float64).tiny
_CURE = "Use accuracy 'reference', or probe shorter segments."


def relative_singular_values(product: Product, num_inputs: int, *, max_sweeps: int = 12,
                             tolerance: float = 1e-9) -> tuple[Tensor, Tensor]:
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
    log_values
        float64 (num_inputs, min(out_dim, in_dim)) on the CPU, decreasing natural logarithms; -inf for structural zeros.
    error
        float64 (num_inputs,): an estimate, ten times the largest change of a logarithm from one sweep to the next,
        whose rounding errors differ; infinite where nothing is known, as for a rank that only cancellation lowers.

    Raises
    ------
    ArgumentError
        `max_sweeps` or `tolerance` is out of range, or a factor does not fit memory as an explicit matrix.
    NonFiniteError
        A factor holds NaN or infinity.

    Notes
    -----
    Costs, per sweep and input, a product and a QR decomposition of a ``width x rank`` block per layer; three sweeps
    suffice where the factors are well conditioned up to scales of their rows. Errors grow with the condition of single
    factors, not with that of the product.

    References
    ----------
    Bojanczyk, Nagy and Plemmons 1993, Block RLS using row Householder reflections, and Stewart 1997, On graded QR
    decompositions of products of matrices, for sweeps. Demmel and Veselić 1992, Jacobi's method is more accurate than
    QR; Drmač and Veselić 2008, New fast and accurate Jacobi SVD algorithm, for Jacobi on graded matrices.

    Examples
    --------
    >>> small = Diagonal(torch.tensor([[1e-200, 1.0]], dtype=torch.float64))
    >>> mixed = Matrix(torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64))
    >>> logs, error = relative_singular_values(Product([small, small, mixed]), 1)
    >>> (logs / math.log(10)).round(decimals=4)  # the second is 1e-400 times the root of 2
    tensor([[ 1.5050e-01, -3.9985e+02]], dtype=torch.float64)
    """
    if max_sweeps < 3:
        raise ArgumentError(f"`max_sweeps` must be at least 3; got {max_sweeps}. Leave it out for 12.")
    if not tolerance > 0:
        raise ArgumentError(f"`tolerance` must be positive; got {tolerance}. Leave it out for 1e-9.")
    steps = _steps(product)
    live = _live(steps)
    ranks = _generic_ranks(steps, live)
    widest = max(units.shape[1] for units in live)
    bytes_per_rank = 8.0 * _BLOCKS * widest
    if bytes_per_rank * int(ranks.max()) > _LARGEST:
        raise ArgumentError(f"`product` must have blocks that fit {_LARGEST:.3g} bytes; got {widest} x"
                            f" {int(ranks.max())}, which need {bytes_per_rank * int(ranks.max()):.3g}. {_CURE}")
    log_values = torch.full((len(ranks), min(product.shape[1:])), -math.inf, dtype=torch.float64)
    error = torch.zeros(len(ranks), dtype=torch.float64)
    for rank in ranks.unique().tolist():
        few = max(1, int(_SLICE / (bytes_per_rank * max(1, rank))))
        for which in (ranks == rank).nonzero().flatten().split(few) if rank else ():
            mine = [of_inputs(step, which) for step in steps]
            units = [alive.expand(len(ranks), -1)[which].unsqueeze(2) for alive in live]
            found, uncertain = _resolved(mine, units, rank, max_sweeps, tolerance)
            which = which.cpu()
            log_values[which, :rank], error[which] = found.cpu(), uncertain.cpu()
    return log_values.expand(num_inputs, -1), error.expand(num_inputs)


def _resolved(steps: list[Product], live: list[Tensor], rank: int, max_sweeps: int,
              tolerance: float) -> tuple[Tensor, Tensor]:
    """Log-values (num_inputs, rank) and errors (num_inputs,) of inputs whose rank is `rank` up to cancellation."""
    there = [(step.matmat, alive) for step, alive in zip(steps, live[1:], strict=True)]
    back = [(step.rmatmat, alive) for step, alive in zip(steps[::-1], live[-2::-1], strict=True)]
    basis = torch.randn(live[0].shape[1], rank, generator=make_generator(0), dtype=torch.float64)
    basis, _, _ = _sweep(there, basis.to(live[0].device) * live[0])  # into the range, whose dimension is the rank
    best = torch.full((len(live[0]), rank), math.nan, dtype=torch.float64, device=basis.device)
    before, error = best, torch.full_like(best[:, 0], math.inf)
    for number in range(1, max_sweeps):
        basis, logs, rows = _sweep(back if number % 2 else there, basis)
        values, unfinished = _graded_values(logs, rows)
        change = (values - before).abs().amax(1).nan_to_num(nan=math.inf)
        rounding = _EPS * (8 * len(steps) * rank**0.5 + len(steps) ** 0.5 * values.abs().amax(1))
        now = torch.where(change < _UNKNOWN, _SAFETY * change + rank * unfinished + rounding, math.inf)
        best = torch.where(((now < error) | error.isinf()).unsqueeze(1), values, best)
        before, error = values, torch.minimum(error, now)
        if bool((change <= tolerance).all()):
            break
    return best, error


def _sweep(walk: list[tuple], basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Carry `basis`, (num_inputs, width, rank), through all steps.

    Returns an orthonormal basis of where it arrives, and the triangular product as ``exp(logs)`` times `rows`,
    (num_inputs, rank) and (num_inputs, rank, rank) with rows of length 1; the basis in decreasing order of `logs`.
    """
    num_inputs, _, rank = basis.shape
    logs = torch.zeros(num_inputs, rank, dtype=torch.float64, device=basis.device)
    rows = torch.eye(rank, dtype=torch.float64, device=basis.device)
    for apply, alive in walk:
        block = apply(basis) * alive
        width = block.shape[1]
        packed = threaded(lambda part: torch.cat(torch.linalg.qr(part), dim=1), block, 4.0 * width * rank**2)
        basis = packed[:, :width]
        logs, rows = _graded(packed[:, width:], logs, rows)
    order = logs.argsort(1, descending=True)
    return basis.gather(2, order.unsqueeze(1).expand_as(basis)), logs, rows


def _graded(matrices: Tensor, logs: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Write ``matrices @ diag(exp(logs)) @ rows`` as ``diag(exp(new_logs)) @ new_rows`` with rows of length 1."""
    scales = matrices.abs().log() + logs.unsqueeze(1)
    largest = scales.amax(2).clamp(min=-torch.finfo(torch.float64).max)  # a row of zeros must not give NaN
    product = matrices.sign() * (scales - largest.unsqueeze(2)).exp()
    product = product if rows is None else product @ rows
    lengths = torch.linalg.vector_norm(product, dim=2)
    return largest + lengths.log(), product / lengths.clamp(min=_TINY).unsqueeze(2)


def _graded_values(logs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Decreasing logarithms of the singular values of ``diag(exp(logs)) @ rows``, and the largest cosine left."""
    for _ in range(_TRANSPOSITIONS):
        logs, order = logs.sort(1, descending=True)
        rows = rows.gather(1, order.unsqueeze(2).expand_as(rows))
        triangles = threaded(lambda part: torch.linalg.qr(part, mode="r").R, rows.mT, 2.0 * rows.shape[1] ** 3)
        logs, rows = _graded(triangles, logs)
    few = len(rows) if rows.is_cuda else max(1, _CACHED // rows.shape[1] ** 2)
    with one_blas_thread():
        values, largest = zip(*map(_rotated, logs.split(few), rows.split(few)), strict=True)
    return torch.cat(values), torch.cat(largest)


def _rotated(logs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """One-sided Jacobi: rotate pairs of rows of ``diag(exp(logs)) @ rows`` until all are orthogonal.

    All pairs of a round are disjoint, and m - 1 rounds meet every pair of m rows: all but the first change chairs.
    Returns decreasing logs, (num_inputs, rank), and the largest cosine left, (num_inputs,).
    """
    rank = rows.shape[1]
    if rank % 2:
        rows = torch.nn.functional.pad(rows, (0, 0, 0, 1))
        logs = torch.nn.functional.pad(logs, (0, 1), value=-math.inf)
    half = rows.shape[1] // 2
    for _ in range(_ROUNDS):
        largest = logs.new_zeros(len(logs))
        for _ in range(2 * half - 1):
            rows, logs, cosines = _pairs_rotated(rows[:, :half], rows[:, half:], logs[:, :half], logs[:, half:])
            largest = torch.maximum(largest, cosines.abs().amax(1))
        lengths = torch.linalg.vector_norm(rows, dim=2)
        rows, logs = rows / lengths.clamp(min=_TINY).unsqueeze(2), logs + lengths.log()
        if bool((largest <= 8 * _EPS * rank**0.5).all()):
            break
    return logs.sort(1, descending=True).values[:, :rank], largest


def _pairs_rotated(first: Tensor, second: Tensor, scale: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate every row of `first` against its partner in `second`, and change chairs; also their cosines.

    Rows have scales of their own, so that nothing underflows. With the ratio r <= 1 of both lengths and the cosine c
    the rotation of rows of length 1 has the tangent r t, ``t = 2 c / (1 - r^2 + sqrt((1 - r^2)^2 + 4 r^2 c^2))``: it
    adds r^2 t of the shorter to the longer, and takes t of the longer from the shorter.
    """
    lengths = [torch.linalg.vector_norm(side, dim=2).clamp(min=_TINY) for side in (first, second)]
    cosines = torch.linalg.vecdot(first, second) / lengths[0] / lengths[1]
    ratio = lengths[0] / lengths[1]
    gaps = (scale - other + ratio.log()).nan_to_num(nan=0.0)
    differences = -torch.expm1(-2 * gaps.abs())
    squares = 1 - differences
    roots = torch.sqrt(differences**2 + 4 * squares * cosines**2)
    tangents = torch.where(cosines == 0, 0, 2 * cosines / (differences + roots))
    to_longer, turned = squares * tangents, -0.5 * torch.log1p(squares * tangents**2)
    of_second = torch.where(gaps >= 0, to_longer, -tangents) * ratio
    of_first = torch.where(gaps >= 0, -tangents, to_longer) / ratio
    rows = (torch.addcmul(first, of_second.unsqueeze(2), second), torch.addcmul(second, of_first.unsqueeze(2), first))
    return _seated(*rows), _seated(scale + turned, other + turned), cosines


def _seated(first: Tensor, second: Tensor) -> Tensor:
    """All chairs after one change: the first row keeps its own, the others move on in a circle."""
    if first.shape[1] == 1:
        return torch.cat([first, second], dim=1)
    return torch.cat([first[:, :1], second[:, :1], first[:, 1:-1], second[:, 1:], first[:, -1:]], dim=1)


def _steps(product: Product) -> list[Product]:
    """The factors in float64, in the order they act: one matrix per step and gentle scales, a part of steep ones."""
    steps: list[list[LinearOperator]] = []
    for factor in reversed(_flat(product)):
        for piece in _pieces(_explicit(factor)):
            last = steps[-1] if steps else []
            gentle = isinstance(piece, Diagonal) and len(last) == 1 and not isinstance(last[0], Diagonal)
            if gentle and _log_range(piece.entries) <= _RANGE:
                last.insert(0, piece)
            else:
                steps.append([piece])
    return [Product(step) for step in steps]


def _flat(operator: LinearOperator) -> list[LinearOperator]:
    if isinstance(operator, Product):
        return [part for factor in operator.factors for part in _flat(factor)]
    return [operator]


def _explicit(factor: LinearOperator) -> Matrix | Diagonal | Selection:
    """A factor in float64, as a matrix that is the same for all inputs where it is no diagonal or selection."""
    if isinstance(factor, Selection):
        return Selection(factor.index, factor.shape[2], dtype=torch.float64)
    num_inputs, out_dim, in_dim = factor.shape
    copies = factor.copies if isinstance(factor, Matrix) else 1
    if isinstance(factor, Diagonal):
        entries = factor.entries.double()
    elif num_inputs > 1 or 8.0 * out_dim * in_dim / copies**2 > _LARGEST:
        raise ArgumentError("`product` must have factors that fit memory as explicit matrices, the same for all inputs;"
                            f" got {type(factor).__name__} of shape {factor.shape}. {_CURE}")
    else:
        entries = (factor.matrix if isinstance(factor, Matrix) else factor.dense()[0]).double()
    if not bool(entries.isfinite().all()):
        raise NonFiniteError(f"`product` must have finite factors; got NaN or infinity in {type(factor).__name__} of"
                             f" shape {factor.shape}. Check the inputs and the scale of the weights.")
    return Diagonal(entries) if isinstance(factor, Diagonal) else Matrix(entries, copies=copies)


def _pieces(factor: Matrix | Diagonal | Selection) -> list[LinearOperator]:
    """Factors of one factor, in the order they act, with no steep scale in any: roots of it, and what is left."""
    if isinstance(factor, Diagonal):
        parts = max(1, math.ceil(_log_range(factor.entries) / _RANGE))
        root = factor.entries.abs() ** (1 / parts)
        return [Diagonal(root)] * (parts - 1) + [Diagonal(root * factor.entries.sign())]
    if isinstance(factor, Selection):
        return [factor]
    matrix, scales = factor.matrix, []
    for axis in (1, 0):  # of rows, then of columns
        lengths = matrix.abs().amax(axis, keepdim=True)
        lengths = torch.where((lengths > 0) & (_log_range(lengths.T if axis else lengths) > _RANGE), lengths, 1)
        matrix = matrix / lengths
        scales.append(_pieces(Diagonal(lengths.flatten().repeat(factor.copies).unsqueeze(0)))
                      if bool((lengths != 1).any()) else [])
    rows, columns = scales
    return [*columns, Matrix(matrix, copies=factor.copies), *rows]


def _log_range(entries: Tensor) -> float:
    """Largest ratio of two nonzero entries of a row, (num, dim), as a logarithm."""
    logs = entries.abs().log()
    lowest = torch.where(entries == 0, math.inf, logs).amin(1)
    return max(0.0, float((logs.amax(1) - lowest).max()))


def _live(steps: list[Product]) -> list[Tensor]:
    """Units before, between and behind the steps that lie on a path of nonzero entries, bool (num_inputs, dim) each."""
    patterns = [pattern(step) for step in steps]
    num_inputs, device = max(step.shape[0] for step in steps), steps[0].device
    reached = [torch.ones(num_inputs, steps[0].shape[2], 1, device=device)]
    for step in patterns:
        reached.append((step.matmat(reached[-1]) > 0).float())
    useful = [torch.ones(num_inputs, steps[-1].shape[1], 1, device=device)]
    for step in reversed(patterns):
        useful.append((step.rmatmat(useful[-1]) > 0).float())
    return [(r * u).squeeze(2) > 0 for r, u in zip(reached, reversed(useful), strict=True)]


def _generic_ranks(steps: list[Product], live: list[Tensor]) -> Tensor:
    """The rank of almost every product with these zeros, int64 (num_inputs,): as many paths as share no unit."""
    ranks = torch.stack([units.sum(1) for units in live]).amin(0)
    wirings = [_wiring(factor) for step in steps for factor in step.factors if not isinstance(factor, Diagonal)]
    if all(wiring is None for wiring in wirings):
        return ranks
    inner = [0] + [i for i, step in enumerate(steps, 1) if not isinstance(step.factors[-1], Diagonal)]
    units = [live[i].cpu().numpy() for i in inner]
    known: dict[bytes, int] = {}
    for n in range(len(ranks)):
        alive = [side[n] for side in units]
        edges = [wiring if wiring is None else wiring[n % len(wiring)] for wiring in wirings]
        selected = b"".join(edge.tobytes() for wiring, edge in zip(wirings, edges, strict=True)
                            if wiring is not None and len(wiring) > 1)
        key = b"".join(side.tobytes() for side in alive) + selected
        if key not in known:
            known[key] = _num_disjoint_paths(edges, alive)
        ranks[n] = known[key]
    return ranks


def _wiring(factor: Matrix | Selection) -> list[np.ndarray] | None:
    """Pairs (2, num_pairs) of an output and an input that a nonzero entry joins, one array for all or per input.

    None where every output is joined with every input.
    """
    if isinstance(factor, Selection):
        return [np.stack([np.arange(len(index)), index]) for index in factor.index.cpu().numpy()]
    pairs = (factor.matrix != 0).cpu().numpy()
    if factor.copies == 1 and pairs.all():
        return None
    heights, widths = np.arange(factor.copies)[:, None] * np.array(pairs.shape)[:, None, None]
    out, taken = pairs.nonzero()
    return [np.stack([(heights + out).ravel(), (widths + taken).ravel()])]


def _num_disjoint_paths(wirings: list[np.ndarray | None], live: list[np.ndarray]) -> int:
    """Most paths from the first to the last units, without a common unit: a flow with every unit open for one."""
    starts = np.cumsum([2, *(len(units) for units in live), *(1 for _ in wirings)])  # source and sink; a hub per wiring
    num_nodes, enters = starts[-1], [start + units.nonzero()[0] for start, units in zip(starts, live, strict=False)]
    leaves = [units + num_nodes for units in enters]  # of the same unit; an edge between both is open for one
    edges = [np.stack([np.zeros_like(enters[0]), enters[0]]), np.stack([leaves[-1], np.ones_like(leaves[-1])])]
    edges += [np.stack(pair) for pair in zip(enters, leaves, strict=True)]
    for i, wiring in enumerate(wirings):
        if wiring is None:
            hub = starts[len(live) + i]
            edges += [np.stack([leaves[i], np.full_like(leaves[i], hub)]),
                      np.stack([np.full_like(enters[i + 1], hub), enters[i + 1]])]
        else:
            out, taken = wiring[:, live[i + 1][wiring[0]] & live[i][wiring[1]]]
            edges.append(np.stack([starts[i] + taken + num_nodes, starts[i + 1] + out]))
    sources, targets = np.concatenate(edges, axis=1)
    graph = scipy.sparse.csr_array((np.ones(len(sources), dtype=np.int32), (sources, targets)), (2 * num_nodes,) * 2)
    return int(scipy.sparse.csgraph.maximum_flow(graph, 0, 1).flow_value)
