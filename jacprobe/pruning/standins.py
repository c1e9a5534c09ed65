"""Stand-ins for the operations of a network: the same paths, and nothing that cancels."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from jacprobe.errors import ModelError
from jacprobe.pruning.levels import level_of
from jacprobe.pruning.operations import CREATES, ELEMENTWISE, MOVES, NOISE, REDUCTIONS, SUMS, ZERO_STAYS
from jacprobe.pruning.patterns import Call, Flow

Rule = Callable[[Call], Tensor | tuple]


def stand_in(call: Call, *, unknown: str) -> Flow | Tensor | tuple:
    """Return the pattern of the outputs of an operation, or constants where it takes none but constants.

    Raises
    ------
    ModelError
        The operation has no stand-in and `unknown` is "refuse".
    """
    if call.op is operator.getitem:
        return call.args[0][call.args[1]]
    if call.name in NOISE:
        return torch.ones(call.shape, dtype=torch.float32, device=call.device)
    if not call.flows:
        return call.op(*call.args, **call.kwargs)
    if call.name in CREATES:
        return call.op(*(arg.pattern if isinstance(arg, Flow) else arg for arg in call.args), **call.kwargs)
    rule = RULES.get(call.name)
    preserves = call.name not in ELEMENTWISE or call.name in ZERO_STAYS
    if rule is None or not (preserves or call.is_signal) or (call.name in MOVES and call.has_moving_places):
        if unknown == "refuse":
            raise ModelError(f"`model` must consist of operations with a known pattern of dependence; {call.name!r} has"
                             ' none. Pass unknown="connected" to let all of its outputs depend on all of its inputs.')
        rule = _connected
    try:
        outputs = rule(call)
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(f"`model` must use operations in a form with a known pattern of dependence; {call.op} raised"
                         f" {type(error).__name__}: {reason}. Write it with other operations.") from error
    if isinstance(outputs, tuple):
        return tuple(None if output is None else call.result(output) for output in outputs)
    return call.result(outputs, level_of(call) if call.is_signal else None)


def _connected(call: Call) -> Tensor | tuple:
    everything = sum(flow.pattern.sum() for flow in call.flows if flow.is_signal or not call.is_signal)
    outputs, several = call.node.meta["val"], isinstance(call.node.meta["val"], (tuple, list))
    patterns = tuple(None if output is None else everything.expand(output.shape)
                     for output in (outputs if several else [outputs]))
    return patterns if several else patterns[0]


def _elementwise(call: Call) -> Tensor | tuple:
    total = call.total([*call.args, *call.kwargs.values()])
    return (total, None) if isinstance(call.node.meta["val"], (tuple, list)) else total


def _noisy(call: Call) -> Tensor | tuple:
    """The noise of a slope is no path."""
    pattern = call.args[0].pattern
    return (pattern, None) if isinstance(call.node.meta["val"], (tuple, list)) else pattern


def _product(call: Call) -> Tensor:
    first, second = call.args[:2]
    if all(isinstance(value, Flow) and value.is_signal for value in (first, second)):
        # either may be constant and the other carry the signal
        return first.pattern * second.support + first.support * second.pattern
    return (call.factor(first) * call.factor(second)).expand(call.shape)


def _quotient(call: Call) -> Tensor:
    first, second = call.args[:2]
    if isinstance(second, Flow) and (second.is_signal or not isinstance(first, Flow)):
        return call.total([first, second])
    return call.factor(first).expand(call.shape)


def _choice(call: Call) -> Tensor:
    condition, *values = call.args
    if isinstance(condition, Flow):
        return call.total([condition, *values])
    return torch.where(condition, *(call.summand(value) for value in values)).expand(call.shape)


def _filled(call: Call) -> Tensor:
    values, where, filling = call.args
    return call.total([values, where]) if isinstance(where, Flow) else torch.where(where, call.summand(filling),
                                                                                   call.summand(values))


def _moved(call: Call) -> Tensor | tuple:
    """The operation itself, which is linear with weights that are not negative; whole numbers in it are places."""
    def operand(value: object) -> object:
        is_number = isinstance(value, Tensor) and value.is_floating_point()
        return call.summand(value) if isinstance(value, Flow) or is_number else value

    args = tree_map(operand, call.args, is_leaf=lambda value: isinstance(value, Flow))
    return _as_tuple(call.op(*args))


def _as_tuple(outputs: Tensor | list | tuple) -> Tensor | tuple:
    return outputs if isinstance(outputs, Tensor) else tuple(outputs)


def _joined(call: Call) -> Tensor:
    return call.op([call.summand(part) for part in call.args[0]], *call.args[1:])


def _padded(call: Call) -> Tensor:
    return F.pad(call.args[0].pattern, call.args[1])


def _replaced(call: Call) -> Tensor:
    return call.summand(call.args[1]).expand(call.shape)


def _reduced(call: Call) -> Tensor | tuple:
    """A sum over the axes of the reduction; all of them where none is named."""
    pattern, axes = call.args[0].pattern, call.argument(2 if call.name in ("linalg_vector_norm", "norm") else 1)
    axes = [axes] if isinstance(axes, int) and not isinstance(axes, bool) else axes
    axes = list(axes) if isinstance(axes, (list, tuple)) and axes else list(range(pattern.ndim))
    total = pattern.sum(axes).reshape(call.shape) if axes else pattern
    outputs = call.node.meta["val"]
    return (total,) * len(outputs) if isinstance(outputs, (tuple, list)) else total


def _accumulated(call: Call) -> Tensor:
    return call.args[0].pattern.cumsum(call.args[1])


def _matmul(call: Call) -> Tensor:
    has_bias = call.name in ("addmm", "baddbmm", "addmv")
    bias, first, second = call.args[:3] if has_bias else (None, *call.args[:2])
    if call.name == "linear":
        bias = call.argument(2)
    multiply = F.linear if call.name == "linear" else torch.matmul
    a, b = call.factor(first), call.factor(second)
    if all(isinstance(value, Flow) and value.is_signal for value in (first, second)):
        total = multiply(a, second.support) + multiply(first.support, b)
    else:
        total = multiply(a, b)
        for weight in (first, second):
            if isinstance(weight, Flow) and not weight.is_signal and call.is_signal:
                call.use(weight, total.numel() * a.shape[-1] // max(weight.pattern.numel(), 1))
    return total if bias is None else _biased(call, total, bias)


def _biased(call: Call, total: Tensor, bias: object) -> Tensor:
    if isinstance(bias, Flow) and bias.is_signal:
        return total + bias.pattern
    return call.shifted(total, call.factor(bias))


def _convolution(call: Call) -> Tensor:
    inputs, weight, bias, stride, padding, dilation, transposed, output_padding, groups = call.args
    total = torch.ops.aten.convolution(call.factor(inputs), call.factor(weight), None, stride, padding, dilation,
                                       transposed, output_padding, groups)
    image = call.factor(inputs) if transposed else total
    call.use(weight, image.shape[0] * image.shape[2:].numel())
    if bias is None:
        return total
    bias = call.factor(bias)
    return call.shifted(total, bias.reshape(-1, *[1] * (total.ndim - 2)))


def _embedding(call: Call) -> Tensor:
    weight, indices = call.args[:2]
    if not isinstance(indices, Flow):
        return call.op(call.factor(weight), indices)
    return indices.pattern.unsqueeze(-1) * call.factor(weight).sum(0)  # any token may stand there


def _max_pool(call: Call) -> tuple:
    """A sum over each window, as a convolution with ones: a maximum has its gradient at one place only."""
    pattern, kernel = call.args[0].pattern, list(call.args[1])
    dims = len(kernel)
    stride = list(call.argument(2) or kernel)
    padding, dilation = (list(call.argument(position, default * dims)) for position, default in ((3, [0]), (4, [1])))
    sides, pads = pattern.shape[-dims:], []
    for axis in reversed(range(dims)):  # the last windows may reach over the end, or stop before it
        reach = (call.shape[-dims + axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        pads += [padding[axis], reach - sides[axis] - padding[axis]]
    images = F.pad(pattern, pads).flatten(0, -dims - 1).unsqueeze(1)
    ones = torch.ones(1, 1, *kernel, dtype=pattern.dtype, device=pattern.device)
    total = torch.ops.aten.convolution(images, ones, None, stride, [0] * dims, dilation, False, [0] * dims, 1)
    return total.reshape(call.shape), None


def _adaptive_max_pool(call: Call) -> tuple:
    pattern, size = call.args[:2]
    pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[len(size)]
    return pool(pattern.pattern, size), None


def _gated(call: Call) -> Tensor:
    first, second = call.args[0].pattern.chunk(2, call.argument(1, -1))
    return first + second


def _softmax(call: Call) -> Tensor:
    """Everything that is not shut, unless that is one entry, which is 1 whatever its score."""
    scores, axis = call.args[:2]
    total = scores.pattern.sum(axis, keepdim=True)
    if scores.level is not None:
        total = total * (scores.level > 0).sum(axis, keepdim=True).gt(1)
    return total.expand_as(scores.pattern)


def _scaled(call: Call, total: Tensor, weight: object, bias: object, shape: list[int]) -> Tensor:
    if weight is not None:
        total = total * call.factor(weight).reshape(shape)
    return total if bias is None else call.shifted(total, call.factor(bias).reshape(shape))


def _batch_norm(call: Call) -> tuple:
    """A scaling by channel; over the axes but that of the channels everything mixes where statistics are computed."""
    pattern, weight, bias = call.args[0].pattern, *call.args[1:3]
    flags = [value for value in call.args[3:] if isinstance(value, bool)]
    if flags and flags[0]:
        axes = [axis for axis in range(pattern.ndim) if axis != 1]
        pattern = pattern.sum(axes, keepdim=True).expand_as(pattern)
    scaled = _scaled(call, pattern, weight, bias, [-1, *[1] * (pattern.ndim - 2)])
    return scaled, None, None, None  # statistics: nothing reads them in evaluation mode


def _layer_norm(call: Call) -> tuple:
    pattern, shape, weight = call.args[0].pattern, list(call.args[1]), call.argument(2)
    bias = call.argument(3) if call.name == "native_layer_norm" else None
    mixed = pattern.sum(list(range(-len(shape), 0)), keepdim=True).expand_as(pattern)
    return _scaled(call, mixed, weight, bias, shape), None, None


def _group_norm(call: Call) -> tuple:
    pattern, weight, bias, num, _, _, groups = call.args[0].pattern, *call.args[1:7]
    parts = pattern.reshape(num, groups, -1)
    mixed = parts.sum(-1, keepdim=True).expand_as(parts).reshape(pattern.shape)
    return _scaled(call, mixed, weight, bias, [-1, *[1] * (pattern.ndim - 2)]), None, None


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(MOVES, _moved),
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys(SUMS, _matmul),
    "convolution": _convolution,
    **dict.fromkeys(("rrelu_with_noise", "rrelu_with_noise_functional"), _noisy),
    "mul": _product,
    "div": _quotient,
    "where": _choice,
    "masked_fill": _filled,
    "cat": _joined,
    "stack": _joined,
    "constant_pad_nd": _padded,
    "copy": _replaced,
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp"), _accumulated),
    "embedding": _embedding,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _max_pool),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), _adaptive_max_pool),
    "glu": _gated,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                     "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_no_update"), _batch_norm),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _layer_norm),
    "native_group_norm": _group_norm,
}
