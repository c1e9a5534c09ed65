"""Factors of pooling operations, read from their nodes of the autograd graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import Node

from jacprobe.linop import LinearMap, Selection

_MAXIMA = ("MaxPool2DWithIndicesBackward", "MaxPool3DWithIndicesBackward", "AdaptiveMaxPool2DBackward",
           "AdaptiveMaxPool3DBackward")
_AVERAGES = {"AvgPool2DBackward": F.avg_pool2d, "AvgPool3DBackward": F.avg_pool3d}
_ADAPTIVE = {"AdaptiveAvgPool2DBackward": F.adaptive_avg_pool2d, "AdaptiveAvgPool3DBackward": F.adaptive_avg_pool3d}


def max_pooling(end: tuple[Node, int], taken: tuple[int, ...], given: tuple[int, ...], num_inputs: int
                ) -> Selection | None:
    """Return which entry of the input every output is, or None for another operation.

    Parameters
    ----------
    end
        Node and output of the operation.
    taken, given
        (batch, channels, *spatial) before and after it.
    num_inputs
        How many of the batch are wanted.
    """
    node, output_nr = end
    if not node.name().startswith(_MAXIMA) or output_nr:
        return None
    window = node._saved_result1[:num_inputs].reshape(num_inputs, given[1], -1)  # within one channel
    size = torch.Size(taken[2:]).numel()
    channel = torch.arange(given[1], device=window.device).unsqueeze(1) * size
    dtype = node._input_metadata[output_nr].dtype
    return Selection((window + channel).flatten(1), taken[1] * size, dtype=dtype)


def average_pooling(end: tuple[Node, int], taken: tuple[int, ...], given: tuple[int, ...], dtype: torch.dtype,
                    device: torch.device) -> LinearMap | None:
    """Return the linear map of an average over windows or whole axes, or None for another operation.

    Parameters are those of ``max_pooling``, and the dtype and device of the vectors.
    """
    function = _average(end[0], taken, given)
    if function is None or taken[0] != given[0]:
        return None
    like = torch.empty(0, dtype=dtype, device=device)
    return LinearMap(function, taken[1:], given[1:], like)


def _average(node: Node, taken: tuple[int, ...], given: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    name = node.name().rstrip("0123456789")
    if name in _ADAPTIVE:
        return lambda images: _ADAPTIVE[name](images, given[2:])
    if name in _AVERAGES:
        arguments = (node._saved_kernel_size, node._saved_stride, node._saved_padding, node._saved_ceil_mode,
                     node._saved_count_include_pad, node._saved_divisor_override)
        return lambda images: _AVERAGES[name](images, *arguments)
    if name == "MeanBackward" and getattr(node, "_saved_dim", None):
        dims = [dim - 2**64 if dim >= 2**63 else dim for dim in node._saved_dim]  # saved as unsigned numbers
        dims = [dim % len(taken) for dim in dims]
        return None if 0 in dims else lambda images: images.mean(dims, keepdim=node._saved_keepdim)
    return None
