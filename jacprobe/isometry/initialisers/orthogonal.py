"""Orthogonal weights: Haar matrices, and weights that are orthogonal as a matrix (out, in * kernel) of each group."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.isometry.checks import check_number
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer
from jacprobe.isometry.repair.blocks import from_blocks


def check_gain(gain: object) -> None:
    """Check that `gain` is a finite number.

    Raises
    ------
    DtypeError, ArgumentError
        It is not.
    """
    check_number("gain", gain, "finite", "1 keeps the rows or columns orthonormal.")


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
    """Orthonormal rows or columns, whichever are fewer, of each group's (out, in * kernel) matrix, times `gain`."""
    check_gain(gain)

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        outputs = layer.cols if layer.transposed else layer.rows
        blocks = [gain * haar(outputs, layer.fan_in, generator).mT for _ in range(layer.groups)]
        return Drawn(from_blocks(layer.module, torch.stack(blocks), layer.shape))

    return draw
