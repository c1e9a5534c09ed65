"""The operations between the input and the output of a model, recorded once as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from jacprobe.errors import DtypeError, ModelError, ShapeError
from jacprobe.masks import KeepMask
from jacprobe.modelstate import Owned, check_module, detached_state, owned_parameters, preserved, unwrapped
from jacprobe.pruning.operations import writes


@dataclass(frozen=True)
class Dataflow:
    """The operations of one forward pass, without side effects.

    Attributes
    ----------
    graph
        ATen operations; its placeholders are `tensors` in their order, then the input.
    tensors
        Parameters and buffers by their names in the model, tied ones once.
    parameters
        Which of `tensors` are parameters.
    inputs
        One sample.
    names
        Name in `tensors` of each parameter's plain name.
    masks
        Which of `tensors` are masks that the model carries.
    """

    graph: fx.GraphModule
    tensors: dict[str, Tensor]
    parameters: frozenset[str]
    inputs: Tensor
    names: dict[str, str]
    masks: frozenset[str]


def record(model: nn.Module, inputs: Tensor) -> Dataflow:
    """Record the operations that `model` does on the first sample of `inputs`, in evaluation mode.

    Raises
    ------
    DtypeError, ShapeError
        `model` is no module, or `inputs` no tensor with a sample.
    ModelError
        The model has no shapes yet, does not run on `inputs`, or decides by the values of its tensors what to do.
    """
    check_module(model)
    if not isinstance(inputs, Tensor):
        raise DtypeError(f"`inputs` must be a tensor; got {type(inputs).__name__}. Pass a batch.")
    if inputs.ndim < 1 or not inputs.numel():
        raise ShapeError(f"`inputs` must hold at least one sample; got shape {tuple(inputs.shape)}. Pass a batch.")
    model = unwrapped(model)
    owned = owned_parameters(model)
    with preserved(model), torch.inference_mode(False), torch.no_grad():
        state = detached_state(model)
        first: dict[int, str] = {}
        shared = {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}
        unique = {name: state[name] for name in first.values()}
        sample = _sample(inputs, owned)
        if any(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in model.modules()):
            unique = {name: tensor.cpu() for name, tensor in unique.items()}  # elsewhere their gates are one operation
            sample = sample.cpu()
        graph = _graph(model, shared, unique, sample)
    parameters = frozenset(shared[entry.name] for entry in owned.values())
    names = {plain: shared[entry.name] for plain, entry in owned.items()}
    return Dataflow(graph, unique, parameters, sample, names, _mask_buffers(model, owned))


def _mask_buffers(model: nn.Module, owned: dict[str, Owned]) -> frozenset[str]:
    own = {f"{name}.mask" for name, module in model.named_modules() if isinstance(module, KeepMask)}
    return frozenset(own | {entry.name.removesuffix("_orig") + "_mask" for entry in owned.values()
                            if entry.is_torch_pruned()})


def _sample(inputs: Tensor, owned: dict[str, Owned]) -> Tensor:
    like = next((entry.tensor for entry in owned.values()), inputs)
    dtype = like.dtype if inputs.is_floating_point() else inputs.dtype  # token ids stay whole numbers
    return inputs[:1].detach().to(like.device, dtype, copy=True)


def _graph(model: nn.Module, shared: dict[str, str], unique: dict[str, Tensor], sample: Tensor) -> fx.GraphModule:
    def forward(tensors: list[Tensor], inputs: Tensor) -> object:
        by_name = dict(zip(unique, tensors, strict=True))
        return torch.func.functional_call(model, {name: by_name[key] for name, key in shared.items()}, (inputs,))

    tensors = list(unique.values())
    try:
        with _plain_formulas():
            graph = _functional(forward, tensors, sample)
            if any(map(writes, graph.graph.nodes)):  # those of composite kernels, which pass the first time
                graph = _functional(graph, tensors, sample)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the user's forward may raise anything; it is chained and named
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(
            f"`model` must run on `inputs` and do the same whatever their values; one sample of shape"
            f" {tuple(sample.shape)} raised {type(error).__name__}: {reason}. Check the shape, or take decisions by"
            " value out of its forward."
        ) from error
    return graph


def _functional(forward: Callable, tensors: list[Tensor], sample: Tensor) -> fx.GraphModule:
    """Trace `forward`; in-place operations and views become plain ones."""
    return make_fx(torch.func.functionalize(forward))(tensors, sample)


@contextmanager
def _plain_formulas() -> Iterator[None]:
    """Have attention and recurrent layers computed by their formulas, of operations that have a stand-in."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        yield
