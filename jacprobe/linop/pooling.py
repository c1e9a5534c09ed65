"""Average pooling and every other linear function of torch that does not depend on the input, as an operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from jacprobe.errors import ShapeError
from jacprobe.linop.operator import LinearOperator


class LinearMap(LinearOperator):
    """A linear function on batches as an operator: products call it, transposed products differentiate it.

    Parameters
    ----------
    function
        (num, *in_shape) -> (num, *out_shape), linear and the same for every sample, for example
        ``torch.nn.AvgPool2d(2)``. Called without gradients, or with them where the transpose is needed.
    in_shape, out_shape
        Of one sample.
    like
        A tensor with the dtype and the device of the vectors.

    Raises
    ------
    ShapeError
        `function` gives another shape.

    Examples
    --------
    >>> pooling = LinearMap(torch.nn.AvgPool1d(2), (1, 4), (1, 2), torch.zeros(0))
    >>> pooling.dense()
    tensor([[[0.5000, 0.5000, 0.0000, 0.0000],
             [0.0000, 0.0000, 0.5000, 0.5000]]])
    """

    def __init__(self, function: Callable[[Tensor], Tensor], in_shape: Sequence[int], out_shape: Sequence[int],
                 like: Tensor):
        self.function = function
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.shape = (1, math.prod(out_shape), math.prod(in_shape))
        self.dtype, self.device = like.dtype, like.device
        with torch.no_grad():
            given = tuple(function(self._zeros(1)).shape)
        if given != (1, *self.out_shape):
            raise ShapeError(f"`function` must give shape {(1, *self.out_shape)} for one sample; got {given}."
                             " Check `in_shape` and `out_shape`.")

    def _matmat(self, block: Tensor) -> Tensor:
        rows = block.mT
        with torch.no_grad():
            images = self.function(rows.reshape(-1, *self.in_shape))
        return images.reshape(*rows.shape[:2], -1).mT

    def _rmatmat(self, block: Tensor) -> Tensor:
        rows = block.mT
        images = rows.reshape(-1, *self.out_shape)
        with torch.enable_grad():
            point = self._zeros(len(images)).requires_grad_()
            (gradient,) = torch.autograd.grad(self.function(point), point, images)
        return gradient.reshape(*rows.shape[:2], -1).mT

    def _zeros(self, num: int) -> Tensor:
        return torch.zeros(num, *self.in_shape, dtype=self.dtype, device=self.device)
