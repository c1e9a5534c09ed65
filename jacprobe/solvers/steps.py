"""The factors of a product as steps in float64 that lose little: explicit matrices, and scales without steep ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product, Selection

STEEPEST = math.log(1e3)  # that the scales of one step may span, since a step loses that factor of accuracy
LARGEST = 2.0**31  # bytes of one explicit factor, and of the blocks of one input
CURE = "Use accuracy 'reference', or probe shorter segments."


def gentle_steps(product: Product) -> list[Product]:
    """Return the factors in float64, in the order they act: a matrix per step and gentle scales, a part of steep ones.
    """
    steps: list[list[LinearOperator]] = []
    for factor in reversed(_flat(product)):
        for piece in _pieces(_explicit(factor)):
            last = steps[-1] if steps else []
            gentle = isinstance(piece, Diagonal) and len(last) == 1 and not isinstance(last[0], Diagonal)
            if gentle and log_range(piece.entries) <= STEEPEST:
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
    if isinstance(factor, Diagonal):
        entries = factor.entries.double()
    elif factor.shape[0] > 1 or _matrix_bytes(factor) > LARGEST:
        raise ArgumentError("`product` must have factors that fit memory as explicit matrices, the same for all inputs;"
                            f" got {type(factor).__name__} of shape {factor.shape}. {CURE}")
    else:
        entries = (factor.matrix if isinstance(factor, Matrix) else factor.dense()[0]).double()
    if not bool(entries.isfinite().all()):
        raise NonFiniteError(f"`product` must have finite factors; got NaN or infinity in {type(factor).__name__} of"
                             f" shape {factor.shape}. Check the inputs and the scale of the weights.")
    return Diagonal(entries) if isinstance(factor, Diagonal) else Matrix(entries, copies=_copies(factor))


def _pieces(factor: Matrix | Diagonal | Selection) -> list[LinearOperator]:
    """Factors of one factor, in the order they act, with no steep scale in any: roots of it, and what is left."""
    if isinstance(factor, Diagonal):
        parts = max(1, math.ceil(log_range(factor.entries) / STEEPEST))
        root = factor.entries.abs() ** (1 / parts)
        return [Diagonal(root)] * (parts - 1) + [Diagonal(root * factor.entries.sign())]
    if isinstance(factor, Selection):
        return [factor]
    matrix, scales = factor.matrix, []
    for axis in (1, 0):  # of rows, then of columns
        lengths = matrix.abs().amax(axis, keepdim=True)
        lengths = torch.where((lengths > 0) & (log_range(lengths.T if axis else lengths) > STEEPEST), lengths, 1)
        matrix = matrix / lengths
        scales.append(_pieces(Diagonal(lengths.flatten().repeat(factor.copies).unsqueeze(0)))
                      if bool((lengths != 1).any()) else [])
    rows, columns = scales
    return [*columns, Matrix(matrix, copies=factor.copies), *rows]


def log_range(entries: Tensor) -> float:
    """Return the largest ratio of two nonzero entries of a row, (num, dim), as a logarithm."""
    logs = entries.abs().log()
    lowest = torch.where(entries == 0, math.inf, logs).amin(1)
    return max(0.0, float((logs.amax(1) - lowest).max()))


def explicit_bytes(product: Product) -> float:
    """Return the memory of the matrices that stand for the factors: themselves, with scales split off, squares."""
    fixed = [factor for factor in product.factors if not isinstance(factor, (Diagonal, Selection))]
    return sum(4 * _matrix_bytes(factor) for factor in fixed)


def _matrix_bytes(factor: LinearOperator) -> float:
    return 8.0 * factor.shape[1] * factor.shape[2] / _copies(factor) ** 2


def _copies(factor: LinearOperator) -> int:
    return factor.copies if isinstance(factor, Matrix) else 1
