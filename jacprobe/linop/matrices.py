"""Matrices, diagonals and selections of entries."""

from __future__ import annotations

from functools import cached_property

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
