"""Which matrices of a layer shall be isometries: its weight, or its Fourier transform at every frequency."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor


class Lift(Protocol):
    """A linear map from stacks of weights `(num, long, short)` to stacks of the matrices that shall be isometries."""

    num: int

    def short(self, shape: tuple[int, int]) -> int:
        """Return the smaller side of the matrices of a block of this shape."""
        ...

    def forward(self, weights: Tensor) -> Tensor: ...

    def adjoint(self, matrices: Tensor) -> Tensor:
        """Return the adjoint divided by `num`, which is also the inverse on the image."""
        ...


class Flat:
    """The weights themselves, the paper's objective."""

    num = 1

    def short(self, shape: tuple[int, int]) -> int:
        return min(shape)

    def forward(self, weights: Tensor) -> Tensor:
        return weights

    def adjoint(self, matrices: Tensor) -> Tensor:
        return matrices


class Frequencies:
    """The Fourier transform of a convolution on a grid of ``2 k - 1`` frequencies along each side of the kernel.

    The Gram matrix of a kernel of k entries has 2 k - 1, so it is the identity at all frequencies if it is at these.

    Parameters
    ----------
    channels
        Input channels of a group; blocks have ``channels * prod(kernel)`` rows.
    kernel
        Sides of the kernel.
    """

    def __init__(self, channels: int, kernel: tuple[int, ...], device: torch.device | None = None):
        self._shape = (channels, math.prod(kernel))
        waves = torch.ones(1, 1, dtype=torch.complex128, device=device)
        for side in kernel:
            grid = 2 * side - 1
            phase = torch.outer(torch.arange(grid, dtype=torch.float64, device=device),
                                torch.arange(side, dtype=torch.float64, device=device)) * (-2 * math.pi / grid)
            waves = torch.kron(waves, torch.polar(torch.ones_like(phase), phase))
        self._waves = waves  # (num, kernel)
        self.num = len(waves)

    def short(self, shape: tuple[int, int]) -> int:
        return min(self._shape[0], shape[1])

    def forward(self, weights: Tensor) -> Tensor:
        """Return `(num_blocks, num, long, short)`."""
        taps = weights.unflatten(1, self._shape).to(self._waves.dtype)
        matrices = torch.einsum("fk,bcko->bfco", self._waves, taps)
        return matrices.mT if matrices.shape[-2] < matrices.shape[-1] else matrices

    def adjoint(self, matrices: Tensor) -> Tensor:
        if matrices.shape[-2] != self._shape[0]:
            matrices = matrices.mT
        return torch.einsum("fk,bfco->bcko", self._waves.conj(), matrices).real.flatten(1, 2) / self.num

    def pick(self, weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the largest kept tap of each pair of channels of one block, whether there is one, and its row."""
        size = torch.where(mask, weights.abs() + 1e-12, 0).unflatten(0, self._shape)
        largest, tap = size.max(1)
        rows = torch.arange(self._shape[0], device=mask.device)[:, None] * self._shape[1] + tap
        return largest, largest > 0, rows
