"""Products with one fixed factor among diagonals: what follows from that factor alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.linop import Convolution, Diagonal, LinearOperator, Matrix, Product


class Single(NamedTuple):
    """One fixed factor with diagonals on both sides, ``left @ factor @ right``.

    left, right
        (num_inputs or 1, dim) entries, None for the identity.
    """

    left: Tensor | None
    factor: Matrix | Convolution
    right: Tensor | None


def single(operator: LinearOperator) -> Single | None:
    """Return the parts of a product of diagonals and one matrix or convolution, or None for another operator."""
    if not isinstance(operator, Product):
        return None
    fixed = [i for i, factor in enumerate(operator.factors) if isinstance(factor, (Matrix, Convolution))]
    others = [factor for i, factor in enumerate(operator.factors) if i not in fixed]
    if len(fixed) != 1 or not all(isinstance(factor, Diagonal) for factor in others):
        return None
    sides = operator.factors[: fixed[0]], operator.factors[fixed[0] + 1 :]
    left, right = (_entries(side) for side in sides)
    return Single(left, operator.factors[fixed[0]], right)


def _entries(diagonals: tuple[Diagonal, ...]) -> Tensor | None:
    entries = None
    for factor in diagonals:
        entries = factor.entries if entries is None else entries * factor.entries
    return entries


def frobenius_norms(operator: LinearOperator) -> Tensor | None:
    """Return the exact Frobenius norms where they follow from one fixed factor, float64 (num_inputs or 1,), else None.

    The square of the norm of D W is the sum of the squared entries of D times the squared norms of the rows of W.
    """
    found = single(operator)
    if found is None or (found.left is not None and found.right is not None):
        return None
    side = "columns" if found.left is None else "rows"
    norms = found.factor.norms_squared(side)
    entries = found.right if found.left is None else found.left
    if entries is None:
        return norms.sum().sqrt().unsqueeze(0)
    return (entries.double() ** 2 @ norms).sqrt()


def channel_scaled(operator: LinearOperator) -> tuple[Convolution, Tensor | None, Tensor | None] | None:
    """Return a convolution that is the same for all inputs, with the scales of its output and input channels.

    None where the operator is another one, or a diagonal differs within a channel.
    """
    found = single(operator)
    if found is None or not isinstance(found.factor, Convolution) or operator.shape[0] != 1:
        return None
    scales = []
    for entries, shape in ((found.left, found.factor.out_shape), (found.right, found.factor.in_shape)):
        if entries is None:
            scales.append(None)
            continue
        channels = entries.reshape(shape[0], -1)
        if not torch.equal(channels, channels[:, :1].expand_as(channels)):
            return None
        scales.append(channels[:, 0])
    return found.factor, *scales
