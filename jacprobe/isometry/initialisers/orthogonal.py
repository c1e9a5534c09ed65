"""Orthogonal weights: Haar matrices, and weights that are orthogonal as a matrix (out, in * kernel)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer


def check_gain(gain: float) -> None:
    """Check that `gain` is a finite number.

    Raises
    ------
    ArgumentError
        It is not.
    """
    if not math.isfinite(gain):
        raise ArgumentError(f"`gain` must be finite; got {gain}. 1 keeps the rows or columns orthonormal.")


def haar(rows: int, cols: int, generator: torch.Generator) -> Tensor:
    """Return a uniformly distributed matrix (rows, cols), float64, of orthonormal rows or columns, whichever are fewer.

    Examples
    --------
    >>> Q = haar(2, 3, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(Q @ Q.T, torch.eye(2, dtype=torch.float64)))
    True
    """
    return nn.init.orthogonal_(torch.empty(rows, cols, dtype=torch.float64), generator=generator)


def orthogonal(model: nn.Module, *, gain: float = 1.0) -> Draw:
    """Orthonormal rows or columns, whichever are fewer, of the (out, in * kernel) matrix, times `gain`."""
    check_gain(gain)

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        weight = torch.empty(layer.shape, dtype=torch.float64)
        return Drawn(nn.init.orthogonal_(weight, gain=gain, generator=generator))

    return draw
