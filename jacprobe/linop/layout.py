"""The same map with its images laid out pixel by pixel, as the convolutions of CPUs like them best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from jacprobe.linop.convolution import Convolution
from jacprobe.linop.matrices import Diagonal
from jacprobe.linop.operator import LinearOperator
from jacprobe.linop.products import Product, Sum


def channels_last(operator: LinearOperator) -> LinearOperator:
    """Return `operator` on vectors in the order of pixels, then channels, where that makes its products faster.

    Such is a product of convolutions of images or volumes, diagonals and sums of these, in float32 on a CPU; any other
    operator comes back as it is. Only the order of the coordinates changes, and so no singular value.
    """
    if operator.device.type != "cpu" or operator.dtype != torch.float32 or not isinstance(operator, Product):
        return operator
    shape = _out_shape(operator)
    found = None if shape is None else _reordered(operator, shape)
    return operator if found is None else found[0]


def _out_shape(operator: LinearOperator) -> tuple[int, ...] | None:
    """The image that comes out, where a convolution tells it; diagonals before it do not change the shape."""
    if isinstance(operator, Convolution):
        return operator.out_shape
    if isinstance(operator, Product):
        return next((shape for factor in operator.factors if (shape := _out_shape(factor))), None)
    if isinstance(operator, Sum):
        return next((shape for term in operator.terms if (shape := _out_shape(term))), None)
    return None


def _reordered(operator: LinearOperator, shape: tuple[int, ...]) -> tuple[LinearOperator, tuple[int, ...]] | None:
    """The operator whose outputs are images of `shape`, reordered, and the shape of its inputs; None where unknown."""
    if operator.shape[1] != math.prod(shape):
        return None
    if isinstance(operator, Diagonal):
        return Diagonal(_pixels_first(operator.entries, shape)), shape
    if isinstance(operator, Convolution) and len(shape) > 2:
        return operator.channels_last, operator.in_shape
    if isinstance(operator, Product):
        factors = []
        for factor in operator.factors:
            found = _reordered(factor, shape)
            if found is None:
                return None
            factors.append(found[0])
            shape = found[1]
        return Product(factors), shape
    if isinstance(operator, Sum):
        found = [_reordered(term, shape) for term in operator.terms]
        if None in found or len({in_shape for _, in_shape in found}) > 1:
            return None
        return Sum([term for term, _ in found]), found[0][1]
    return None


def _pixels_first(entries: Tensor, shape: Sequence[int]) -> Tensor:
    return entries.reshape(len(entries), *shape).movedim(1, -1).flatten(1)
