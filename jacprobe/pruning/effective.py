"""Effective weights: the kept ones that lie on a path from the input to the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from jacprobe.masks import Masks
from jacprobe.modelstate import preserved
from jacprobe.pruning.arguments import check_masks, check_options
from jacprobe.pruning.dataflow import Dataflow, record
from jacprobe.pruning.patterns import Call, Flow
from jacprobe.pruning.standins import stand_in


@dataclass(frozen=True)
class Paths:
    """What the paths through kept weights tell.

    Attributes
    ----------
    effective
        Kept weights on a path.
    is_connected
        Whether any path leads from the input to the output.
    macs
        Multiply-accumulates for one sample with the kept weights of each parameter, by its plain name.
    """

    effective: Masks
    is_connected: bool
    macs: dict[str, int]


def effective_masks(
    model: nn.Module, masks: Masks, inputs: Tensor, *, constants: str = "dead", unknown: str = "refuse"
) -> Masks:
    """Return the masks of those kept weights that lie on a path of kept weights from the input to the output.

    The other kept weights read a unit without a signal, or write to one that is never read: without biases they change
    no output, and with them they can only shift, as one more bias, units that are on a path. An entry of a kernel
    counts where at least one of its places lies on a path, so that taps that only ever meet padding do not. Found by
    one forward and one backward pass with positive stand-ins for all operations of the model, on any graph: shortcuts,
    concatenation, groups, recurrence, weights used twice.

    Parameters
    ----------
    model
        Any module; it is left untouched. Masks that it carries hold too, and parameters without a mask are kept.
    masks
        Kept weights.
    inputs
        A batch as the model takes it, of which one sample is used. Only shape and type matter; whole numbers, such as
        token ids, stand for any others.
    constants
        "dead": a unit that gets no signal but has a bias is constant and starts no path, and a bias is effective where
        its unit lies on a path; the published definition. "alive": kept parameters that add something start paths too.
    unknown
        What to do with operations without a stand-in: "refuse", or "connected" to let all outputs of such an operation
        depend on all its inputs, which counts too many weights as effective rather than too few.

    Raises
    ------
    DtypeError, ShapeError, UnknownNameError, ArgumentError
        An argument is of the wrong type, shape or name.
    ModelError
        The model does not run on `inputs`, decides by values what to do, or has an operation without a stand-in.

    Notes
    -----
    Softmax and normalisations with statistics of the sample let everything they normalise together depend on each
    other, except for what an attention mask shuts out: scores filled with, or shifted by, a constant of at most -1e4.
    A product of two signals depends on both unless one is zero by a constant factor; a gate that is zero because of
    its pruned weights is not noticed.

    References
    ----------
    Vysogorets and Kempe, Connectivity Matters: Neural Network Pruning Through the Lens of Effective Sparsity, 2021
    (arXiv 2107.02306): weights are inactivated where their gradient vanishes in the linearised net of ones.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> kept = {"0.weight": torch.tensor([[True, True], [False, True]]), "2.weight": torch.tensor([[True, False]])}
    >>> effective_masks(net, Masks(kept), torch.ones(1, 2))["0.weight"].tolist()
    [[True, True], [False, False]]
    """
    check_options(constants, unknown)
    check_masks(masks, model)
    flow = record(model, inputs)
    return find_paths(model, flow, masks, constants=constants, unknown=unknown).effective


def find_paths(
    model: nn.Module, flow: Dataflow, masks: Masks, *, constants: str = "dead", unknown: str = "refuse",
    carried: bool = True,
) -> Paths:
    """Send patterns through a recorded model, forward and backward; through masks that it carries too if `carried`.

    Raises
    ------
    ModelError
        The model has an operation without a stand-in.
    """
    kept: dict[str, Tensor] = {}
    for name, mask in masks.items():  # tied parameters keep what both masks keep
        key = flow.names[name]
        kept[key] = mask & kept[key] if key in kept else mask
    with preserved(model), torch.inference_mode(False), torch.enable_grad():
        leaves = {key: mask.to(flow.tensors[key].device, torch.float32).requires_grad_() for key, mask in kept.items()}
        outputs, macs = _forward(flow, leaves, alive=constants == "alive", unknown=unknown, carried=carried)
        total = sum((output.sum() for output in outputs), torch.zeros(()))
        gradients = dict.fromkeys(leaves)
        if total.requires_grad:
            found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
            gradients = dict(zip(leaves, found, strict=True))
    effective = {key: kept[key] & (gradient.cpu() > 0.5) if gradient is not None else torch.zeros_like(kept[key])
                 for key, gradient in gradients.items()}
    by_name = {name: macs.get(key, 0) for name, key in flow.names.items()}
    return Paths(Masks({name: effective[flow.names[name]] for name in masks}), bool(total > 0), by_name)


def _forward(
    flow: Dataflow, leaves: dict[str, Tensor], *, alive: bool, unknown: str, carried: bool
) -> tuple[list[Tensor], dict[str, int]]:
    """Return the patterns of all outputs that depend on the input, and the multiply-accumulates with each parameter."""
    entry = Flow(torch.ones(flow.inputs.shape, dtype=torch.float32, device=flow.inputs.device), is_signal=True)
    entries = iter([*(_entry(flow, name, leaves, carried=carried) for name in flow.tensors), entry])
    values: dict[torch.fx.Node, object] = {}
    macs: dict[str, int] = {}
    for node in flow.graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(entries)
        elif node.op == "get_attr":
            values[node] = getattr(flow.graph, node.target)
        elif node.op == "call_function" and node.users:
            values[node] = _evaluated(node, values, macs, alive=alive, unknown=unknown)
    outputs = tree_flatten(torch.fx.node.map_arg(flow.graph.graph.output_node().args[0], values.__getitem__))[0]
    return [value.pattern for value in outputs if isinstance(value, Flow) and value.is_signal], macs


def _evaluated(
    node: torch.fx.Node, values: dict[torch.fx.Node, object], macs: dict[str, int], *, alive: bool, unknown: str
) -> object:
    call = Call(node, values, alive=alive)
    outputs = stand_in(call, unknown=unknown)
    for name, count in call.macs.items():
        macs[name] = macs.get(name, 0) + count
    return outputs


def _entry(flow: Dataflow, name: str, leaves: dict[str, Tensor], *, carried: bool) -> Flow | Tensor:
    """Return what stands for a parameter, kept where it has no mask, or the buffer itself."""
    tensor = flow.tensors[name]
    if name in flow.masks and not carried:
        return torch.ones_like(tensor)
    if name not in flow.parameters:
        return tensor
    ones = torch.ones(tensor.shape, dtype=torch.float32, device=tensor.device)
    return Flow(leaves.get(name, ones), False, frozenset([name]))
