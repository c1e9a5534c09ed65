"""What every linear operator batched over inputs can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, ShapeError

_UNITS = 256  # unit vectors at a time


class LinearOperator(ABC):
    """A linear map per input, known by its products with blocks of vectors.

    A block whose memory is laid out row by row, ``(num_inputs, k, dim)`` seen through ``.mT``, is never copied.

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

    def dense(self) -> Tensor:
        """Return the matrices, (num_inputs, out_dim, in_dim), by products with the unit vectors of the smaller side."""
        num_inputs, out_dim, in_dim = self.shape
        by_rows = out_dim < in_dim
        product, side = (self._rmatmat, out_dim) if by_rows else (self._matmat, in_dim)
        parts = []
        for start in range(0, side, _UNITS):
            count = min(_UNITS, side - start)
            units = torch.zeros(1, count, side, dtype=self.dtype, device=self.device)
            units[0, range(count), range(start, start + count)] = 1
            parts.append(product(units.expand(num_inputs, -1, -1).mT))
        dense = torch.cat(parts, dim=2)
        return dense.mT if by_rows else dense

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

    @property
    def T(self) -> LinearOperator:
        """The transposed operator."""
        return Transposed(self)

    def to_scipy(self, index: int | None = None) -> scipy.sparse.linalg.LinearOperator:
        """Return the operator of one input for SciPy's solvers, on NumPy vectors of the same dtype.

        Parameters
        ----------
        index
            Which input; may be left out where there is one.

        Raises
        ------
        ArgumentError
            There are several inputs and no `index`, or no such input.
        """
        num_inputs, out_dim, in_dim = self.shape
        if index is None and num_inputs > 1:
            raise ArgumentError(f"`index` must name one of {num_inputs} inputs; got None. SciPy knows no batches.")
        index = 0 if index is None else index
        if not -num_inputs <= index < num_inputs:
            raise ArgumentError(f"`index` must be one of {num_inputs} inputs; got {index}. Count from 0.")

        def apply(product, block: np.ndarray) -> np.ndarray:
            columns = torch.from_numpy(np.ascontiguousarray(block.reshape(len(block), -1)))
            padded = columns.new_zeros(num_inputs, *columns.shape).to(dtype=self.dtype, device=self.device)
            padded[index] = columns
            return product(padded)[index].cpu().numpy()

        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        return scipy.sparse.linalg.LinearOperator(
            (out_dim, in_dim), dtype=dtype,
            matvec=lambda v: apply(self._matmat, v), rmatvec=lambda v: apply(self._rmatmat, v),
            matmat=lambda v: apply(self._matmat, v), rmatmat=lambda v: apply(self._rmatmat, v),
        )

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


class Transposed(LinearOperator):
    """The transpose of `operator`."""

    def __init__(self, operator: LinearOperator):
        self.operator = operator
        num_inputs, out_dim, in_dim = operator.shape
        self.shape = (num_inputs, in_dim, out_dim)
        self.dtype, self.device, self.broadcasts = operator.dtype, operator.device, operator.broadcasts

    def _matmat(self, block: Tensor) -> Tensor:
        return self.operator._rmatmat(block)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self.operator._matmat(block)

    def dense(self) -> Tensor:
        return self.operator.dense().mT

    @property
    def T(self) -> LinearOperator:
        return self.operator
