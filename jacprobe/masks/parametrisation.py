"""The parametrisation by which a model carries a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeepMask(nn.Module):
    """Parametrisation that shows a tensor with the entries outside `mask` exactly zero.

    `mask` is a persistent buffer, so the state dict carries it. ``torch.where`` rather than a product: an infinite
    hidden entry must not become NaN, and no gradient reaches a pruned entry.
    """

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, tensor: Tensor) -> Tensor:
        return torch.where(self.mask, tensor, 0)
