"""Matrices, diagonals and selections of entries."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from jacprobe.linop.operator import LinearOperator


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
        rows = block.mT.unflatten(2, (self.copies, -1)) @ matrix.mT  # one product of matrices for all rows
        return rows.flatten(2).mT

    def dense(self) -> Tensor:
        return torch.block_diag(*[self.matrix] * self.copies).unsqueeze(0)

    def norms_squared(self, side: Literal["rows", "columns"]) -> Tensor:
        """Return the squared norm of every row or column, float64 (out_dim,) or (in_dim,)."""
        squares = self.matrix.double() ** 2
        return squares.sum(1 if side == "rows" else 0).repeat(self.copies)

    @cached_property
    def one_copy(self) -> Matrix:
        """The matrix that acts on each part."""
        return Matrix(self.matrix) if self.copies > 1 else self

    @cached_property
    def is_full(self) -> bool:
        """Whether no entry is 0."""
        return bool((self.matrix != 0).all())

    @cached_property
    def pattern(self) -> Matrix:
        """1 where the matrix is not 0, in float32."""
        return Matrix((self.matrix != 0).float(), copies=self.copies)


class Diagonal(LinearOperator):
    """A diagonal matrix per input, ``entries`` (num_inputs, dim)."""

    def __init__(self, entries: Tensor):
        self.entries = entries
        self.shape = (*entries.shape, entries.shape[1])
        self.dtype, self.device = entries.dtype, entries.device

    @cached_property
    def is_full(self) -> bool:
        """Whether no entry is 0."""
        return bool((self.entries != 0).all())

    def _matmat(self, block: Tensor) -> Tensor:
        return self.entries.unsqueeze(-1) * block

    _rmatmat = _matmat

    def dense(self) -> Tensor:
        return torch.diag_embed(self.entries)


class Selection(LinearOperator):
    """Every output is one entry of the input vector: the Jacobian of max pooling, of slices and of permutations.

    Parameters
    ----------
    index
        (num_inputs, out_dim), which entry.
    in_dim
        Length of the input vector.
    dtype
        Of the vectors.
    """

    def __init__(self, index: Tensor, in_dim: int, *, dtype: torch.dtype):
        self.index = index
        self.shape = (*index.shape, in_dim)
        self.dtype, self.device = dtype, index.device

    def _matmat(self, block: Tensor) -> Tensor:
        index = self.index.unsqueeze(1).expand(block.shape[0], block.shape[2], -1)
        return block.mT.gather(2, index).mT

    def _rmatmat(self, block: Tensor) -> Tensor:
        index = self.index.unsqueeze(1).expand(block.shape[0], block.shape[2], -1)
        return block.new_zeros(block.shape[0], block.shape[2], self.shape[2]).scatter_add_(2, index, block.mT).mT

    def dense(self) -> Tensor:
        return torch.nn.functional.one_hot(self.index, self.shape[2]).to(self.dtype)
