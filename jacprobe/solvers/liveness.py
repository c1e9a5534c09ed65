"""Which units of a product of factors carry rank: dead ones, bounds on the rank, and parts that ignore each other."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from jacprobe.linop import (
    Convolution,
    Diagonal,
    LinearMap,
    LinearOperator,
    Matrix,
    Product,
    Selection,
    Transposed,
)


def rank_bound(product: Product) -> Tensor:
    """Return an upper bound on the rank of each input's Jacobian that follows from exact zeros alone, (num_inputs,).

    At every interface between factors, only units that the input reaches and that reach the output carry rank; and a
    matrix has at most the rank of its pattern of zeros (its structural rank, a maximum matching).
    """
    if all(isinstance(factor, (Matrix, Diagonal)) and factor.is_full for factor in product.factors):
        width = min(product.shape[1], *(factor.shape[2] for factor in product.factors))
        return torch.full((product.shape[0],), width, device=product.device)
    alive = [units.sum(1) for units in _live(product)]
    matchings = [_structural_rank(factor) for factor in product.factors if isinstance(factor, Matrix)]
    return reduce(torch.minimum, alive).clamp(max=min(matchings, default=math.inf))


def live_ends(product: Product) -> tuple[Tensor, Tensor]:
    """Return which rows and which columns of each input's matrix may be nonzero, (num_inputs, out_dim) and in_dim.

    Exact zeros of the factors alone decide, so that a row that is left may vanish all the same, by cancellation.
    """
    units = _live(product)
    return units[-1], units[0]


def _live(product: Product) -> list[Tensor]:
    """Units at every interface that lie on a path of nonzero entries, from the input on, bool (num_inputs, dim)."""
    num_inputs, out_dim, in_dim = product.shape
    ones = torch.ones(num_inputs, max(out_dim, in_dim), dtype=torch.bool, device=product.device)
    forward, backward = [ones[:, :in_dim]], [ones[:, :out_dim]]
    for factor in reversed(product.factors):
        forward.append(_reached(factor, forward[-1]))
    for factor in product.factors:
        backward.append(_reached(factor.T, backward[-1]))
    return [f & b for f, b in zip(forward, reversed(backward), strict=True)]


def _reached(factor: LinearOperator, units: Tensor) -> Tensor:
    """Units of the output that a nonzero entry connects with one of `units` of the input, (num_inputs, dim) bool."""
    plain = factor.operator if isinstance(factor, Transposed) else factor
    if isinstance(plain, Diagonal):
        return units if plain.is_full else units & (plain.entries != 0)
    if isinstance(plain, Matrix) and plain.is_full and plain.copies == 1:
        return units.any(1, keepdim=True).expand(-1, factor.shape[1])
    connected = pattern(plain)
    connected = connected.T if plain is not factor else connected
    return connected.matmat(units.float().unsqueeze(2)).squeeze(2) > 0


def pattern(operator: LinearOperator) -> LinearOperator:
    """Return an operator in float32 that is positive wherever `operator` may be nonzero, and 0 elsewhere."""
    if isinstance(operator, Matrix):
        return operator.pattern
    if isinstance(operator, Diagonal):
        return Diagonal((operator.entries != 0).float())
    if isinstance(operator, Selection):
        return Selection(operator.index, operator.shape[2], dtype=torch.float32)
    if isinstance(operator, Convolution):
        return operator.with_weight((operator.weight != 0).float())
    if isinstance(operator, LinearMap):  # averages are nonnegative
        like = torch.empty(0, dtype=torch.float32, device=operator.device)
        return LinearMap(operator.function, operator.in_shape, operator.out_shape, like)
    parts = operator.factors if isinstance(operator, Product) else operator.terms
    return type(operator)([pattern(part) for part in parts])


def _structural_rank(factor: Matrix) -> int:
    if not hasattr(factor, "structural_rank"):  # the same matrix comes back for every chunk of inputs
        nonzero = (factor.matrix != 0).cpu().numpy()
        rank = min(nonzero.shape) if factor.is_full else int(
            scipy.sparse.csgraph.structural_rank(scipy.sparse.csr_array(nonzero)))
        factor.structural_rank = rank * factor.copies
    return factor.structural_rank


def live_units(matrices: list[Tensor | None]) -> list[Tensor]:
    """Return which units at each interface of a chain lie on a path of nonzero entries from its input to its output.

    Parameters
    ----------
    matrices
        In the order they act, (out, in) each; None for a factor that acts on each entry by itself.

    Returns
    -------
    list of Tensor
        bool index vectors, one more than there are factors.
    """
    first = next(matrix for matrix in matrices if matrix is not None)
    patterns = [None if matrix is None else (matrix != 0).float() for matrix in matrices]
    reached = [torch.ones(first.shape[1], dtype=torch.float32, device=first.device)]
    for pattern in patterns:
        reached.append(reached[-1] if pattern is None else (pattern @ reached[-1] > 0).float())
    useful = [torch.ones_like(reached[-1])]
    for pattern in reversed(patterns):
        useful.append(useful[-1] if pattern is None else (useful[-1] @ pattern > 0).float())
    return [(r * u).bool() for r, u in zip(reached, reversed(useful), strict=True)]


def components(matrices: list[Tensor | None]) -> list[list[Tensor]]:
    """Return the parts of a chain without dead units that share no path: the units of each part at each interface.

    Parameters and shapes are those of ``live_units``; each part is a list of index vectors.
    """
    first = next(matrix for matrix in matrices if matrix is not None)
    device = first.device
    sizes = [first.shape[1]]
    for matrix in matrices:
        sizes.append(sizes[-1] if matrix is None else matrix.shape[0])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows, columns = [], []
    for position, matrix in enumerate(matrices):
        if matrix is None:
            out, taken = np.arange(sizes[position]), np.arange(sizes[position])
        else:
            out, taken = (matrix != 0).cpu().numpy().nonzero()
        rows.append(out + starts[position + 1])
        columns.append(taken + starts[position])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    graph = scipy.sparse.coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(starts[-1],) * 2)
    count, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    parts: list[list[Tensor]] = [[] for _ in range(count)]
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        at_interface = labels[begin:end]
        order = np.argsort(at_interface, kind="stable")
        ends = np.cumsum(np.bincount(at_interface, minlength=count))
        for part, index in zip(parts, np.split(order, ends[:-1]), strict=True):
            part.append(torch.from_numpy(index).to(device))
    return parts
