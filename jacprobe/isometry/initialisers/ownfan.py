"""Sparse Kaiming weights: the variance of every unit follows the number of weights that it keeps."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer, affine_layers
from jacprobe.isometry.initialisers.orthogonal import check_gain
from jacprobe.masks import Masks


def sparse_kaiming(model: nn.Module, *, masks: Masks, gain: float = math.sqrt(2)) -> Draw:
    """Return the initialiser of law N(0, gain^2 / kept weights of the unit) on the kept weights, masks included.

    A unit is an output channel. One that keeps no weight has none to draw. Layers without a mask have the law of all
    their weights kept.

    References
    ----------
    Evci et al. 2022, Gradient Flow in Sparse Neural Networks and How Lottery Tickets Win.
    """
    check_gain(gain)
    if not isinstance(masks, Masks):
        raise DtypeError(f"`masks` must be Masks; got {type(masks).__name__}. Make them with jacprobe.prune.")
    masks.assert_fits(model)
    known = {layer.parameter(attribute) for layer in affine_layers(model) for attribute in ("weight", "bias")}
    for name in masks:
        if name not in known:
            raise ArgumentError(f"`masks` must be of linear and convolutional layers; got {name!r}. Apply that mask to"
                                " the result.")

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        carried = {attribute: masks[layer.parameter(attribute)] for attribute in ("weight", "bias")
                   if layer.parameter(attribute) in masks}
        mask = carried.get("weight", torch.ones(layer.shape, dtype=torch.bool))
        normal = torch.randn(layer.shape, generator=generator, dtype=torch.float64)
        weight = gain * normal / _own_fan_in(layer, mask).clamp(min=1).sqrt()
        return Drawn(torch.where(mask, weight, 0), masks=carried)

    return draw


def _own_fan_in(layer: Layer, mask: Tensor) -> Tensor:
    """Return the number of kept weights into each output channel, float64, in a shape that broadcasts to the weight."""
    counts = mask.double()
    if not layer.transposed:
        return counts.flatten(1).sum(1).reshape(-1, *[1] * (mask.ndim - 1))
    per_group = counts.unflatten(0, (layer.groups, -1))  # (groups, in, out, *kernel)
    sums = per_group.sum((1, *range(3, per_group.ndim)), keepdim=True)
    return sums.expand(-1, layer.rows, -1, *[1] * len(layer.kernel)).flatten(0, 1)
