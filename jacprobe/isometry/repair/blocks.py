"""A layer's weight as a stack of matrices, one per group, with a column per output; and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def to_blocks(layer: nn.Module, weight: Tensor) -> Tensor:
    """Return the weight of a linear or convolutional layer as a stack `(groups, fan_in, outputs)`.

    The rows of a convolution are its input channels and kernel entries, as in the paper's (kh kw c_in, c_out): the
    order of rows plays no part in a Gram matrix of columns. Groups act on inputs of their own.

    Examples
    --------
    >>> layer = nn.Conv2d(4, 6, 3, groups=2)
    >>> tuple(to_blocks(layer, layer.weight).shape)
    (2, 18, 3)
    """
    groups = getattr(layer, "groups", 1)
    by_group = weight.unflatten(0, (groups, -1))
    if getattr(layer, "transposed", False):  # (groups, in, out, kernel)
        return by_group.movedim(2, -1).flatten(1, -2)
    return by_group.flatten(2).mT


def from_blocks(layer: nn.Module, blocks: Tensor, shape: torch.Size) -> Tensor:
    """Return the weight of `shape` whose blocks are given.

    Examples
    --------
    >>> layer = nn.ConvTranspose1d(4, 6, 3, groups=2)
    >>> bool((from_blocks(layer, to_blocks(layer, layer.weight), layer.weight.shape) == layer.weight).all())
    True
    """
    groups = getattr(layer, "groups", 1)
    if getattr(layer, "transposed", False):
        return blocks.unflatten(1, (shape[0] // groups, *shape[2:])).movedim(-1, 2).reshape(shape)
    return blocks.mT.reshape(shape)
