"""Singular values of Jacobians, from their factors."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor

from jacprobe.errors import NonFiniteError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product
from jacprobe.probe.budget import operations

_UNINTERRUPTED = 2e9  # operations of one call, a fraction of a second, so that an interruption is heard soon


def singular_values(jacobian: LinearOperator, num_inputs: int, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return all singular values and the structural zeros of the Jacobian of each input.

    Parameters
    ----------
    jacobian
        (num_inputs or 1, out_dim, in_dim); 1 where it is the same for every input, and then solved once.
    num_inputs
        Rows of the result.
    dtype
        Precision of the decomposition.

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
    copies = _common_copies(jacobian)
    parts = jacobian.shape[0] * copies
    if copies > 1:
        jacobian = _split(jacobian, copies)
    if isinstance(jacobian, Product):
        bound = rank_bound(jacobian)
        values = _product_values(jacobian, dtype)
    else:
        matrices = jacobian.dense()
        bound = torch.minimum((matrices != 0).any(2).sum(1), (matrices != 0).any(1).sum(1))
        values = _svdvals(matrices.to(dtype))
    values = values.double()
    values = torch.nn.functional.pad(values, (0, rank // copies - values.shape[1]))
    values = values.expand(parts, -1).reshape(-1, rank).sort(dim=1, descending=True).values
    zeros = (rank - bound.clamp(max=rank // copies).expand(parts).reshape(-1, copies).sum(1)).cpu()
    values = values.cpu().masked_fill(torch.arange(rank) >= rank - zeros.unsqueeze(1), 0)
    return values.expand(num_inputs, -1), zeros.expand(num_inputs)


def solve_size(jacobian: LinearOperator) -> tuple[int, int]:
    """Return the shape of the matrix that ``singular_values`` decomposes, per input and equal part."""
    copies = _common_copies(jacobian)
    rows, columns = (dim // copies for dim in jacobian.shape[1:])
    if isinstance(jacobian, Product):
        first, last = jacobian.factors[-1], jacobian.factors[0]
        if isinstance(first, Matrix):
            columns = min(columns, first.shape[1] // copies)
        if isinstance(last, Matrix):
            rows = min(rows, last.shape[2] // copies)
    return rows, columns


def rank_bound(product: Product) -> Tensor:
    """Return an upper bound on the rank of each input's Jacobian that follows from exact zeros alone, (num_inputs,).

    At every interface between factors, only units that the input reaches and that reach the output carry rank; and a
    matrix has at most the rank of its pattern of zeros (its structural rank, a maximum matching).
    """
    pattern = Product([_pattern(factor) for factor in product.factors])
    num_inputs, out_dim, in_dim = pattern.shape
    forward = [torch.ones(num_inputs, in_dim, 1, dtype=torch.float32, device=product.device)]
    for factor in reversed(pattern.factors):
        forward.append((factor.matmat(forward[-1]) > 0).float())
    backward = [torch.ones(num_inputs, out_dim, 1, dtype=torch.float32, device=product.device)]
    for factor in pattern.factors:
        backward.append((factor.rmatmat(backward[-1]) > 0).float())
    alive = [(f * b).sum((1, 2)).long() for f, b in zip(forward, reversed(backward), strict=True)]
    matchings = [_structural_rank(factor) for factor in product.factors if isinstance(factor, Matrix)]
    return reduce(torch.minimum, alive).clamp(max=min(matchings, default=math.inf))


def _pattern(factor: LinearOperator) -> LinearOperator:
    if isinstance(factor, Matrix):
        return Matrix((factor.matrix != 0).float(), copies=factor.copies)
    return Diagonal((factor.entries != 0).float())


def _structural_rank(factor: Matrix) -> int:
    if not hasattr(factor, "structural_rank"):  # the same matrix comes back for every chunk of inputs
        pattern = (factor.matrix != 0).cpu().numpy()
        full = bool(pattern.all())
        rank = min(pattern.shape) if full else int(
            scipy.sparse.csgraph.structural_rank(scipy.sparse.csr_array(pattern)))
        factor.structural_rank = rank * factor.copies
    return factor.structural_rank


def _product_values(product: Product, dtype: torch.dtype) -> Tensor:
    if all(isinstance(factor, Diagonal) for factor in product.factors):
        ones = torch.ones(product.shape[0], product.shape[2], 1, dtype=product.dtype, device=product.device)
        return product.matmat(ones).squeeze(2).abs()
    return _svdvals(Product(_reduced(product.factors, dtype)).dense())


def _reduced(factors: tuple[LinearOperator, ...], dtype: torch.dtype) -> list[LinearOperator]:
    """Convert to `dtype`; replace a wide first or tall last matrix by its triangular factor: same singular values."""
    reduced = [Matrix(f.matrix.to(dtype), copies=f.copies) if isinstance(f, Matrix) else Diagonal(f.entries.to(dtype))
               for f in factors]
    first, last = factors[-1], factors[0]
    if isinstance(first, Matrix) and first.matrix.shape[0] < first.matrix.shape[1]:
        reduced[-1] = Matrix(first.lower.to(dtype), copies=first.copies)
    if isinstance(last, Matrix) and last.matrix.shape[0] > last.matrix.shape[1]:
        reduced[0] = Matrix(last.upper.to(dtype), copies=last.copies)
    return reduced


def _common_copies(jacobian: LinearOperator) -> int:
    """Number of equal parts on which every matrix of a product acts in the same way, else 1."""
    if not isinstance(jacobian, Product):
        return 1
    copies = {factor.copies for factor in jacobian.factors if isinstance(factor, Matrix)}
    return copies.pop() if len(copies) == 1 else 1


def _split(product: Product, copies: int) -> Product:
    """A product that acts on `copies` parts separately, as so many times more inputs."""
    num_inputs = product.shape[0]
    parts: list[LinearOperator] = []
    for factor in product.factors:
        if isinstance(factor, Matrix):
            parts.append(Matrix(factor.matrix))
        else:
            entries = factor.entries.expand(num_inputs, -1)
            parts.append(Diagonal(entries.reshape(num_inputs * copies, -1)))
    return Product(parts)


def _svdvals(matrices: Tensor) -> Tensor:
    if not matrices.isfinite().all():  # LAPACK may hide or hang on them
        raise NonFiniteError("`model` must have finite Jacobians; one holds NaN or infinity."
                             " Check the inputs and the scale of the weights.")
    few = max(1, int(_UNINTERRUPTED / operations(*matrices.shape[1:], 1)))
    return torch.cat([_svdvals_of_few(part) for part in matrices.split(few)])


def _svdvals_of_few(matrices: Tensor) -> Tensor:
    try:
        return torch.linalg.svdvals(matrices)
    except torch.linalg.LinAlgError:  # divide and conquer can fail on repeated values (pytorch#28293); QR does not
        solved = [scipy.linalg.svd(m, compute_uv=False, lapack_driver="gesvd") for m in matrices.cpu().numpy()]
        return torch.from_numpy(np.stack(solved))
