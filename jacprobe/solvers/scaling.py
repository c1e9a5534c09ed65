"""Operators brought to a norm near 1 by powers of two, so that squares and products of vectors stay inside a dtype."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.linop import LinearOperator

_MARGIN = 8  # binary digits between a scale and the largest number of its dtype
_CLOSE = 10  # binary digits between a norm and 1 that harm nothing: the fourth power is far inside of float32


class Scaled(LinearOperator):
    """Each input's matrix times a factor of its own, ``factors`` (num_inputs,)."""

    def __init__(self, operator: LinearOperator, factors: Tensor):
        self.operator = operator
        self.factors = factors.to(dtype=operator.dtype, device=operator.device)[:, None, None]
        self.shape, self.dtype, self.device = operator.shape, operator.dtype, operator.device
        self.broadcasts = operator.broadcasts

    def _matmat(self, block: Tensor) -> Tensor:
        return self.operator.matmat(block) * self.factors

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self.operator.rmatmat(block) * self.factors


class Normalised(NamedTuple):
    """An operator as ``scale * operator``, where the norm of `operator` is near 1.

    operator
        Its products cost another pass over the vectors only where some input needs a scale.
    image
        The product of `operator` with the block that the scale was found by.
    scale
        float64 (num_inputs,) on the CPU: powers of two, so that nothing is rounded.
    """

    operator: LinearOperator
    image: Tensor
    scale: Tensor


def normalised(operator: LinearOperator, block: Tensor) -> Normalised:
    """Return `operator` with its scale taken out, as seen from its product with a random `block`.

    Methods without factors multiply twice before they take a length, the squares of which they add up: of a norm s that
    is s^4, outside of float32 from 1e-9 down and from 1e9 up. A norm that is close to 1 stays as it is.

    Parameters
    ----------
    block
        (num_inputs, in_dim, k); one input too where the operator serves any number of them.
    """
    image = operator.matmat(block)
    before, after = (part.abs().amax((1, 2)).double() for part in (block, image))  # ten times faster than an inf norm
    ratio = after / before  # a matrix of zeros, or one that the solver will refuse, has no scale
    exponent = torch.frexp(torch.where(ratio.isfinite(), ratio, 1)).exponent
    limit = int(math.log2(torch.finfo(block.dtype).max)) - _MARGIN
    scale = torch.where(exponent.abs() > _CLOSE, torch.exp2(exponent.clamp(-limit, limit).double()), 1)
    if bool((scale == 1).all()):
        return Normalised(operator, image, scale.cpu())
    scaled = Scaled(operator, 1 / scale)
    return Normalised(scaled, image * scaled.factors, scale.cpu())
