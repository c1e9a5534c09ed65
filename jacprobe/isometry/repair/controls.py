"""Cheap repairs that any claim for a descent must beat: one number per layer, or per row and column."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rescale(blocks: Tensor) -> Tensor:
    """Return blocks `(num_blocks, fan_in, outputs)` with the Frobenius norm of an isometry, by one factor for all.

    Examples
    --------
    >>> round(float(rescale(torch.ones(1, 3, 2, dtype=torch.float64)).square().sum()), 9)
    2.0
    """
    return _of_norm(blocks, len(blocks) * min(blocks.shape[1:]))


def criticality(blocks: Tensor) -> Tensor:
    """Return blocks with mean square 1 / fan_in over all entries, kept or not, by one factor for all.

    Times sigma_w of a critical point this puts a wide pruned network back on the edge of chaos, whatever the shape of
    the layer; `rescale` differs where a layer has more outputs than inputs.

    References
    ----------
    Hayou et al., Robust Pruning at Initialization, 2021 (rescaling trick).

    Examples
    --------
    >>> round(float(criticality(torch.ones(1, 2, 3, dtype=torch.float64)).square().mean()), 9)
    0.5
    """
    return _of_norm(blocks, len(blocks) * blocks.shape[2])


def _of_norm(blocks: Tensor, square: int) -> Tensor:
    norm = float(blocks.norm())
    return blocks * (math.sqrt(square) / norm) if norm > 0 else blocks


def equilibrate(blocks: Tensor, *, num_rounds: int = 100) -> Tensor:
    """Return blocks whose rows have equal norms and whose columns have equal norms, those of an isometry.

    Rows and columns are scaled in turns (Sinkhorn's iteration on squares), those of the short side last, which then
    have norm 1 exactly; the others have it as far as the pattern of zeros allows. Empty ones stay empty.

    References
    ----------
    Sinkhorn and Knopp 1967; Ruiz 2001.

    Examples
    --------
    >>> found = equilibrate(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64))
    >>> [round(float(norm), 9) for norm in (*found[0].norm(dim=0), *found[0].norm(dim=1))]
    [1.0, 1.0, 1.0, 1.0]
    """
    squares = blocks.square()
    num_rows, num_columns = ((squares.sum(axis, keepdim=True) > 0).sum((1, 2), keepdim=True) for axis in (2, 1))
    short = torch.minimum(num_rows, num_columns).double()
    sides = [(2, short / num_rows.clamp_min(1)), (1, short / num_columns.clamp_min(1))]
    if blocks.shape[1] < blocks.shape[2]:
        sides.reverse()
    for _ in range(num_rounds):
        for axis, wanted in sides:
            sums = squares.sum(axis, keepdim=True)
            squares = squares * torch.where(sums > 0, wanted / sums.clamp_min(1e-300), 0.0)
    return blocks.sign() * squares.sqrt()
