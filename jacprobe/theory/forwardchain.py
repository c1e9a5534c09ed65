"""The chain of weights and activations that a model is, found on a real forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jacprobe.errors import JacprobeError, ModelError
from jacprobe.modelstate import detached_state, preserved, run_on
from jacprobe.theory.activations import Activation, activation

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.modules.dropout._DropoutNd)  # nothing in evaluation mode
_POOLING = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
            nn.modules.pooling._AdaptiveMaxPoolNd)
_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_CPU = torch.device("cpu")  # some devices have no float64
_ROUNDING = 1e-9  # relative: of a function that is applied again


@dataclass(frozen=True)
class Link:
    """One weighted module of the chain with the activation behind it, None where there is none."""

    name: str
    module: nn.Module
    phi: Activation | None
    in_dim: int
    out_dim: int


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    given: Tensor
    result: Tensor


def chain_of(model: nn.Module, inputs: Tensor, *, phi: Activation | None) -> list[Link]:
    """Return the weighted modules of a chain in forward order.

    Parameters
    ----------
    model
        A module made of linear layers, circular convolutions of stride 1, elementwise activations, flattening and
        dropout, one after the other. It runs once in evaluation mode and is left untouched.
    inputs
        (num_inputs, ...).
    phi
        The activation that the forward pass applies as a function where no module does; it is checked.

    Raises
    ------
    ModelError
        The model is no such chain; the message names the module and says why.
    """
    links: list[Link] = []
    before, where = inputs.double(), "the input"
    for call in _calls(model, inputs):
        found = _between(before, call.given, phi, f"between {where} and {call.name!r}")
        if found:
            _attach(links, found, f"a function behind {where}")
        if isinstance(call.module, (nn.Linear, *_CONVOLUTIONS)):
            _check_weighted(call, links)
            links.append(Link(call.name, call.module, None, call.given[0].numel(), call.result[0].numel()))
        elif not isinstance(call.module, _SHAPES):
            _attach(links, _elementwise(call), repr(call.name))
        before, where = call.result, repr(call.name)
    if not links:
        raise ModelError("`model` must have a linear or convolutional layer; got none. Pass the network itself.")
    return links


def _calls(model: nn.Module, inputs: Tensor) -> list[_Call]:
    """Return the calls of all innermost modules, and that of the output last, with copies of what they saw."""
    calls: list[_Call] = []

    def hook(name: str) -> Callable:
        def record(module: nn.Module, args: tuple, result: object) -> None:
            if len(given) != 1 or not isinstance(result, Tensor):
                raise ModelError(_refusal(name, module, "takes or returns something else than one tensor"))
            calls.append(_Call(name, module, given.pop(), result.detach().clone()))

        return record

    given: list[Tensor] = []

    def before(module: nn.Module, args: tuple) -> None:
        given[:] = [arg.detach().clone() for arg in args if isinstance(arg, Tensor)]  # it may be changed in place

    with preserved(model), torch.no_grad():
        for name, module in model.named_modules():
            inner = [child for child, _ in module.named_children() if child != "parametrizations"]
            if "parametrizations" not in name.split(".") and not inner:
                module.register_forward_pre_hook(before)
                module.register_forward_hook(hook(name or "model"))
        try:
            result = run_on(model, detached_state(model, dtype=torch.float64, device=_CPU), inputs.double())
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, JacprobeError):
                raise
            reason = str(error).partition("\n")[0]
            raise ModelError(f"`model` must accept `inputs` of shape {tuple(inputs.shape)}; its forward pass raised "
                             f"{type(error).__name__}: {reason}. Pass inputs of its own shape.") from error
    if not isinstance(result, Tensor):
        raise ModelError(f"`model` must return one tensor; got {type(result).__name__}. Wrap it so that it does.")
    return [*calls, _Call("the output", nn.Identity(), result, result)]


def _between(before: Tensor, after: Tensor, phi: Activation | None, where: str) -> Activation | None:
    """Return the activation that was applied to a tensor outside of all modules; None where it is the same tensor."""
    if before.numel() != after.numel():
        raise ModelError(f"`model` must be a chain; its forward pass changes the size of the tensor {where}. Pooling "
                         "and branches have no such law.")
    before, after = before.flatten(), after.flatten()
    if torch.equal(before, after):
        return None
    if phi is None:
        raise ModelError(f"`model` must apply its activations as modules; its forward pass changes the tensor {where}. "
                         "Pass for example activation='relu', if that is what it does.")
    if not torch.allclose(torch.from_numpy(phi.values(before.numpy())), after, rtol=_ROUNDING, atol=_ROUNDING):
        raise ModelError(f"`model` must be a chain of weights and activations; what its forward pass does {where} is "
                         f"not {phi.name}. Branches and shortcuts have no such law.")
    return phi


def _attach(links: list[Link], phi: Activation, what: str) -> None:
    """Put an activation behind the last weights, in place."""
    if phi.name == "linear":
        return
    if not links:
        raise ModelError(f"`model` must start with a linear or convolutional layer; got {what}. Leave it out.")
    last = links[-1]
    if last.phi is not None:
        raise ModelError(f"`model` must have one activation behind {last.name!r}; {what} is a second one. Write both "
                         "as one module.")
    links[-1] = Link(last.name, last.module, phi, last.in_dim, last.out_dim)


def _elementwise(call: _Call) -> Activation:
    """Return the activation that a module is."""
    for types, reason in ((_POOLING, "pools"), (_NORMALISATIONS, "normalises"),
                          ((nn.Softmax, nn.LogSoftmax), "mixes the units")):
        if isinstance(call.module, types):
            raise ModelError(_refusal(call.name, call.module, reason))
    try:
        return activation(call.module)
    except JacprobeError as error:
        raise ModelError(_refusal(call.name, call.module, "is no elementwise activation")) from error


def _check_weighted(call: _Call, links: list[Link]) -> None:
    """Refuse weights that are used twice, and convolutions that are not circular, of stride 1 and of one group."""
    module = call.module
    if any(link.module is module for link in links):
        raise ModelError(_refusal(call.name, module, "is used twice, so that its factors are not independent"))
    if isinstance(module, nn.Linear):
        if call.given.ndim != 2:
            raise ModelError(_refusal(call.name, module, "acts on tokens one by one"))
        return
    same = all(call.given.shape[2:][i] == call.result.shape[2:][i] for i in range(call.given.ndim - 2))
    touching = all(size == 1 for size in module.kernel_size)
    for wrong, reason in ((any(step != 1 for step in module.stride), "has a stride"),
                          (module.groups != 1, "has groups"),
                          (not touching and module.padding_mode != "circular", "is padded with zeros"
                           if any(module.padding) and module.padding_mode == "zeros" else "is not circular"),
                          (not same, "changes the size of the image")):
        if wrong:
            raise ModelError(_refusal(call.name, module, reason))


def _refusal(name: str, module: nn.Module, reason: str) -> str:
    return ("`model` must be a chain of linear layers or circular convolutions of stride 1 and elementwise activations;"
            f" {name!r} ({type(module).__name__}) {reason}. Theory has no law for it: measure with jacprobe.spectra.")
