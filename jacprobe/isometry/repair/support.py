"""What a mask allows: the structural rank, the floor of the residual, and the part of a matrix that is not empty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

_WORTH_PACKING = 0.75  # share of a matrix that its nonempty rows and columns span, below which the rest is left out:
_WORTH_PACKING_LARGE = 0.98  # small matrices of one shape, packed or not, are solved side by side; large ones gain more
_LARGE = 40_000  # entries


def structural_rank(mask: Tensor) -> int:
    """Return the largest rank that a matrix with these kept entries can have, by a maximum matching.

    Examples
    --------
    >>> structural_rank(torch.tensor([[True, True], [False, False]]))
    1
    """
    return int(scipy.sparse.csgraph.structural_rank(scipy.sparse.csr_array(mask.cpu().numpy())))


def matching(weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of as many kept entries as possible, no two in one row or column, the largest ones.

    Of all such choices it has the largest sum of magnitudes.
    """
    size = weights.abs().cpu().double().numpy()
    largest = size.max(initial=0.0) or 1.0
    cost = np.where(mask.cpu().numpy(), -(size / largest + 1e-6), 2.0 * min(size.shape) + 1)
    rows, columns = (torch.from_numpy(side) for side in scipy.optimize.linear_sum_assignment(cost))
    kept = mask.cpu()[rows, columns]
    return rows[kept], columns[kept]


@dataclass(frozen=True)
class Support:
    """The rows and columns of one block that take part, tall side first.

    Attributes
    ----------
    mask
        Bool `(long, short)` with ``long >= short``.
    rows, columns
        Their places in the block; empty ones are left out where that saves much.
    is_flipped
        Whether the block is wider than tall, so that its rows are the short side.
    rank
        Structural rank.
    """

    mask: Tensor
    rows: Tensor
    columns: Tensor
    is_flipped: bool
    rank: int

    @classmethod
    def of(cls, mask: Tensor) -> Support:
        """Return the support of a bool block `(fan_in, outputs)`."""
        rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
        worth = _WORTH_PACKING if mask.numel() < _LARGE else _WORTH_PACKING_LARGE
        if len(rows) * len(columns) > worth * mask.numel() or not len(rows):  # an empty group stays what it is
            rows, columns = (torch.arange(size, device=mask.device) for size in mask.shape)
        is_flipped = len(rows) < len(columns)
        part = mask[rows][:, columns]
        return cls(part.mT.contiguous() if is_flipped else part, rows, columns, is_flipped, structural_rank(mask))

    @property
    def floor(self) -> float:
        """Least residual on the short side, ``sqrt(short - rank)``: as many singular values are 0 for any weights."""
        return math.sqrt(self.mask.shape[1] - self.rank)

    def take(self, block: Tensor) -> Tensor:
        """Return the part of a block that takes part, `(long, short)`."""
        part = block[self.rows][:, self.columns]
        return part.mT if self.is_flipped else part

    def put(self, part: Tensor, block: Tensor) -> None:
        """Write a part into a block."""
        block[self.rows[:, None], self.columns] = part.mT if self.is_flipped else part
