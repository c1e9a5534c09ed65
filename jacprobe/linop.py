"""Linear operators batched over inputs: matrices, diagonals and products of them.

Shapes: an operator is ``(num_inputs, out_dim, in_dim)``; a factor that is the same for every input has
``num_inputs == 1`` and broadcasts. Blocks of vectors are columns, ``(num_inputs, dim, num_columns)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, reduce

import torch
from torch import Tensor

from jacprobe.errors import DtypeError, ShapeError


class LinearOperator(ABC):
    """A linear map per input, known by its products with blocks of vectors.

    Attributes
    ----------
    shape
        (num_inputs, out_dim, in_dim).
    dtype, device
        Of the vectors it takes and gives.
    broadcasts
        Whether an operator with ``num_inputs == 1`` acts on blocks of any number of inputs.
    """

    broadcasts = True
    shape: tuple[int, int, int]
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def _matmat(self, block: Tensor) -> Tensor:
        """(num_inputs, in_dim, k) -> (num_inputs, out_dim, k)."""

    @abstractmethod
    def _rmatmat(self, block: Tensor) -> Tensor:
        """(num_inputs, out_dim, k) -> (num_inputs, in_dim, k), by the transpose."""

    @abstractmethod
    def dense(self) -> Tensor:
        """Return the matrices, (num_inputs, out_dim, in_dim)."""

    def matmat(self, block: Tensor) -> Tensor:
        """Return the operator times `block`, (num_inputs, in_dim, k) -> (num_inputs, out_dim, k).

        Raises
        ------
        ShapeError, DtypeError
            `block` does not fit the operator.
        """
        return self._matmat(self._checked(block, self.shape[2]))

    def rmatmat(self, block: Tensor) -> Tensor:
        """Return the transposed operator times `block`, (num_inputs, out_dim, k) -> (num_inputs, in_dim, k).

        Raises
        ------
        ShapeError, DtypeError
            `block` does not fit the operator.
        """
        return self._rmatmat(self._checked(block, self.shape[1]))

    def __matmul__(self, block: Tensor) -> Tensor:
        return self.matmat(block)

    def _checked(self, block: Tensor, dim: int) -> Tensor:
        if not isinstance(block, Tensor):
            raise DtypeError(f"`block` must be a tensor; got {type(block).__name__}. Convert it.")
        num_inputs = self.shape[0]
        fits = block.ndim == 3 and block.shape[1] == dim and (
            block.shape[0] == num_inputs or (num_inputs == 1 and self.broadcasts))
        if not fits:
            raise ShapeError(
                f"`block` must have shape ({num_inputs}, {dim}, num_columns); got {tuple(block.shape)}."
                " Give one block of columns per input."
            )
        if block.dtype != self.dtype:
            raise DtypeError(f"`block` must be {self.dtype} as the operator; got {block.dtype}. Convert it.")
        return block

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


class Matrix(LinearOperator):
    """One matrix for all inputs, applied to each of `copies` equal parts of the vector (block diagonal)."""

    def __init__(self, matrix: Tensor, *, copies: int = 1):
        self.matrix = matrix
        self.copies = copies
        self.shape = (1, copies * matrix.shape[0], copies * matrix.shape[1])
        self.dtype, self.device = matrix.dtype, matrix.device

    def _matmat(self, block: Tensor) -> Tensor:
        return self._apply(self.matrix, block)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self._apply(self.matrix.mT, block)

    def _apply(self, matrix: Tensor, block: Tensor) -> Tensor:
        return (matrix @ block.unflatten(1, (self.copies, -1))).flatten(1, 2)

    def dense(self) -> Tensor:
        return torch.block_diag(*[self.matrix] * self.copies).unsqueeze(0)

    @cached_property
    def lower(self) -> Tensor:
        """The triangular L of ``matrix = L Q`` for a wide matrix: same singular values, in float64, computed once."""
        return torch.linalg.qr(self.matrix.double().mT, mode="r").R.mT

    @cached_property
    def upper(self) -> Tensor:
        """The triangular R of ``matrix = Q R`` for a tall matrix: same singular values, in float64, computed once."""
        return torch.linalg.qr(self.matrix.double(), mode="r").R


class Diagonal(LinearOperator):
    """A diagonal matrix per input, ``entries`` (num_inputs, dim)."""

    def __init__(self, entries: Tensor):
        self.entries = entries
        self.shape = (*entries.shape, entries.shape[1])
        self.dtype, self.device = entries.dtype, entries.device

    def _matmat(self, block: Tensor) -> Tensor:
        return self.entries.unsqueeze(-1) * block

    _rmatmat = _matmat

    def dense(self) -> Tensor:
        return torch.diag_embed(self.entries)


class Product(LinearOperator):
    """The product of `factors` in mathematical order: the last one acts first.

    Raises
    ------
    ShapeError
        Neighbouring factors do not fit, or there is none.
    """

    def __init__(self, factors: Sequence[LinearOperator]):
        self.factors = tuple(factors)
        if not self.factors:
            raise ShapeError("`factors` must hold at least one operator; got none. A Diagonal of ones is the identity.")
        for left, right in zip(self.factors, self.factors[1:], strict=False):
            if left.shape[2] != right.shape[1]:
                raise ShapeError(
                    f"`factors` must fit; one with in_dim {left.shape[2]} follows one with out_dim"
                    f" {right.shape[1]}. Check their order."
                )
        num_inputs = max(factor.shape[0] for factor in self.factors)
        self.shape = (num_inputs, self.factors[0].shape[1], self.factors[-1].shape[2])
        self.dtype, self.device = self.factors[0].dtype, self.factors[0].device

    def equals(self, other: LinearOperator) -> bool:
        """Whether `other` is a product of the same matrices (the very objects) and equal diagonals."""
        return isinstance(other, Product) and len(self.factors) == len(other.factors) and all(
            a is b or (isinstance(a, Diagonal) and isinstance(b, Diagonal) and torch.equal(a.entries, b.entries))
            for a, b in zip(self.factors, other.factors, strict=True)
        )

    def _matmat(self, block: Tensor) -> Tensor:
        return reduce(lambda vectors, factor: factor.matmat(vectors), reversed(self.factors), block)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return reduce(lambda vectors, factor: factor.rmatmat(vectors), self.factors, block)

    def dense(self) -> Tensor:
        """Multiply from the thin end, so that no intermediate is larger than it must be."""
        num_inputs, out_dim, in_dim = self.shape
        thin_left = out_dim <= in_dim
        eye = torch.eye(min(out_dim, in_dim), dtype=self.dtype, device=self.device).expand(num_inputs, -1, -1)
        return self._rmatmat(eye).mT if thin_left else self._matmat(eye)
