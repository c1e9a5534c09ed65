"""All singular values of an operator, exactly: by its factors where it is a chain of them, else from its matrix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.linop import Diagonal, LinearOperator, Product, Selection
from jacprobe.solvers.chain import ChainSolver
from jacprobe.solvers.dense import gram_operations, singular_values, solver_error, svd_operations
from jacprobe.solvers.explicit import explicit_parts, is_explicit, num_parts
from jacprobe.solvers.liveness import rank_bound

_WIDTH = 4096  # columns of a slice of a matrix that is looked at


class Cost(NamedTuple):
    """Floating-point operations per input and once for all of them, and bytes of memory per input."""

    operations: float
    bytes: float
    once: float = 0.0

    def total(self, num_inputs: int) -> float:
        return self.once + num_inputs * self.operations


class ExactSolver:
    """Solves the operators of one segment, chunk by chunk of inputs, and keeps what they share.

    Parameters
    ----------
    gram
        Whether squares may be formed, in float64: as accurate as an SVD in float32, see ``dense.solver_error``.
        Otherwise an SVD, in float64.
    """

    def __init__(self, *, gram: bool):
        self.gram = gram
        self._chains: list[ChainSolver] = []

    def __call__(self, jacobian: LinearOperator, num_inputs: int) -> tuple[Tensor, Tensor]:
        """Return all singular values and the structural zeros of the Jacobian of each input.

        Parameters
        ----------
        jacobian
            (num_inputs or 1, out_dim, in_dim); 1 where it is the same for every input, and then solved once.
        num_inputs
            Rows of the result.

        Returns
        -------
        values
            float64 (num_inputs, min(out_dim, in_dim)) on the CPU, decreasing; structural zeros exactly 0.
        zeros
            int64 (num_inputs,) how many values of the row are zero by structure.

        Raises
        ------
        NonFiniteError
            A Jacobian holds NaN or infinity.
        """
        rank = min(jacobian.shape[1:])
        if is_explicit(jacobian):
            values, bound = self._chain_values(jacobian)
        else:
            values, bound = self._matrix_values(jacobian)
        values = torch.nn.functional.pad(values[:, :rank].double(), (0, max(0, rank - values.shape[1]))).cpu()
        zeros = rank - bound.clamp(max=rank).cpu()
        values = values.masked_fill(torch.arange(rank) >= rank - zeros.unsqueeze(1), 0)
        return values.expand(num_inputs, -1), zeros.expand(num_inputs)

    def _chain_values(self, jacobian: Product) -> tuple[Tensor, Tensor]:
        values, bounds, num_inputs = [], [], jacobian.shape[0]
        for position, (part, copies) in enumerate(explicit_parts(jacobian)):
            if position == len(self._chains):
                self._chains.append(ChainSolver(part, gram=self.gram))
            if not self._chains[position].fits(part):
                self._chains[position] = ChainSolver(part, gram=self.gram)
            found, rows = self._chains[position].values(part), num_inputs * copies
            values.append(found.expand(rows, -1).reshape(num_inputs, -1))
            bounds.append(rank_bound(part).expand(rows).reshape(num_inputs, -1).sum(1))
        together = torch.cat(values, dim=1)
        if len(values) > 1 or copies > 1:
            together = together.sort(dim=1, descending=True).values
        return together, torch.stack(bounds).sum(0)

    def _matrix_values(self, jacobian: LinearOperator) -> tuple[Tensor, Tensor]:
        matrices = jacobian.dense()
        rows, columns = _nonzero_rows(matrices), _nonzero_rows(matrices.mT)
        bound = torch.minimum(rows.sum(1), columns.sum(1))
        if not rows.any(0).all():  # dead for every input
            matrices = matrices[:, rows.any(0)]
        if not columns.any(0).all():
            matrices = matrices[:, :, columns.any(0)]
        return singular_values(matrices, gram=self.gram), bound

    def error(self, jacobian: LinearOperator) -> float:
        """Return a bound on the error of the decomposition, relative to the largest value."""
        taken_as_isometries = max((chain.error for chain in self._chains), default=0.0)
        return solver_error(max(jacobian.shape[1:]), gram=self.gram) + taken_as_isometries


def exact_cost(jacobian: LinearOperator, *, gram: bool) -> Cost:
    """Return what the solver needs for one input, not counting the products that form the matrix of no chain."""
    out_dim, in_dim = jacobian.shape[1:]
    solve = gram_operations if gram else svd_operations
    if not is_explicit(jacobian):
        rows = min(out_dim, in_dim)
        workspace = 16.0 * rows**2 if gram else 24.0 * rows * max(out_dim, in_dim)
        return Cost(solve(out_dim, in_dim), jacobian.dtype.itemsize * 1.25 * out_dim * in_dim + workspace)
    parts = num_parts(jacobian)
    widths = [out_dim // parts, *(factor.shape[2] // parts for factor in jacobian.factors)]
    fixed = [i for i, factor in enumerate(jacobian.factors) if not isinstance(factor, (Diagonal, Selection))]
    narrow = min(widths)
    if len(fixed) <= 1:
        m, n = max(widths), min(widths[i + j] for i in fixed for j in (0, 1)) if fixed else 0
        return Cost(parts * solve(narrow, narrow), parts * 16.0 * narrow**2, parts * 4.0 * m * n**2)
    products = sum(2.0 * narrow * widths[i] * widths[i + 1] for i in fixed)
    return Cost(parts * (products + solve(narrow, narrow)), parts * 16.0 * narrow * max(widths))


def _nonzero_rows(matrices: Tensor) -> Tensor:
    """(num, m) which rows hold anything but zeros, without a copy of the matrices."""
    found = matrices.new_zeros(matrices.shape[:2], dtype=torch.bool)
    for part in matrices.split(_WIDTH, dim=2):
        found |= (part != 0).any(2)
    return found
