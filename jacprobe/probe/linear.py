"""Operations of the autograd graph that are linear by construction: no input can change their derivative."""

from __future__ import annotations

import re

from torch.autograd.graph import Node

from jacprobe.probe.graph import PathGraph

_OPERATION = re.compile(r"(\w+)Backward\d+")  # of torch; a Function of the user's has no number
_LINEAR = frozenset((
    "Add", "Sub", "Rsub", "Neg", "Sum", "Mean",
    "Addmm", "Mm", "Linear", "Convolution",  # by weights, which no sample has of its own
    "View", "UnsafeView", "ReshapeAlias", "Alias", "AsStrided", "Permute", "Transpose", "T", "Squeeze", "Unsqueeze",
    "Expand", "Repeat", "Clone", "ToCopy",
    "Slice", "Select", "Split", "UnsafeSplit", "SplitWithSizes", "Unbind", "Cat", "Stack", "Flip", "Roll", "Rot90",
    "ConstantPadNd",
    "ReflectionPad1D", "ReflectionPad2D", "ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D",
    "ReplicationPad3D",
    "PixelShuffle", "PixelUnshuffle", "ChannelShuffle", "Im2Col", "Col2Im",
    "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D",
    "UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D",
    "UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D", "UpsampleBicubic2D",
))
_RESHAPES = frozenset(("View", "UnsafeView", "ReshapeAlias", "Alias", "Squeeze", "Unsqueeze", "Clone"))
_SCALES = frozenset(("Mul", "Div"))
_NORMS = frozenset(("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"))


def is_linear(graph: PathGraph) -> bool:
    """Whether every operation of a part of the graph is linear by construction, but for shifts.

    What is not known to be is taken for not linear. Where it is True, the Jacobian is the same for every input.
    """
    return bool(graph.cuts) and all(map(_is_linear, _operations(graph)))


def is_reshape(graph: PathGraph) -> bool:
    """Whether a part of the graph keeps every entry and their order."""
    return bool(graph.cuts) and all(_name(node) in _RESHAPES for node in _operations(graph))


def _operations(graph: PathGraph) -> list[Node]:
    return [node for node in graph.order if node is not graph.cuts[0][0]]


def _name(node: Node) -> str:
    match = _OPERATION.fullmatch(node.name())
    return match[1] if match else ""


def _is_linear(node: Node) -> bool:
    if node.name() == "BackwardHookFunctionBackward":  # hands on what a module takes or gives
        return True
    name = _name(node)
    if name in _NORMS:
        return not getattr(node, "_saved_training", True)
    return name in _LINEAR or (name in _SCALES and _scales_alike(node))


def _scales_alike(node: Node) -> bool:
    """Whether the other number in a multiplication or division is the same for all samples: it has no batch axis."""
    shape = node._input_metadata[0].shape
    saved = [getattr(node, name, None) for name in ("_saved_self", "_saved_other")]
    return all(other is None or other.ndim < len(shape) or other.shape[0] < shape[0] for other in saved)
