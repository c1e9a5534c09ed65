"""The state of a model: copy it, read it, and give it back untouched."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import DtypeError, ModelError, NonFiniteError

AFFINE = (nn.Linear, nn.modules.conv._ConvNd)  # modules with a weight and a bias that act affinely


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode for the block, not compiled, then restore all of it and the global random states.

    Training flags, plain attributes, hooks and all other dictionaries, lists and sets of the modules come back as they
    were: the very objects, with the same items; what the items hold is not looked at. Buffers are safe when the block
    runs the model by `run_on` a `detached_state`, as every caller here does.
    """
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    containers = [(value, kind(value)) for saved in attributes for value in saved.values()
                  for kind in (dict, list, set) if isinstance(value, kind)]
    devices = range(torch.cuda.device_count())
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        try:
            model.eval()
            for module in modules:
                vars(module).pop("_compiled_call_impl", None)  # of module.compile(): it cannot see hooks
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            for module, saved in zip(modules, attributes, strict=True):
                vars(module).clear()
                vars(module).update(saved)
            for container, content in containers:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)


def copy_model(model: nn.Module) -> nn.Module:
    """Return a deep copy of `model`, also where a forward pass left non-leaf tensors as plain attributes.

    Notes
    -----
    ``copy.deepcopy`` refuses non-leaf tensors (pytorch#37322), such as the product of a pruning hook and the list of
    weights that a recurrent module with parametrisations keeps; they are derived values and are copied detached. It
    leaves original and copy of a parametrised module with one class made for it, where torch keeps the property of each
    parametrised tensor: to add or remove one in the copy would break the original. Each copy gets a class of its own.

    Raises
    ------
    ModelError
        Something the model holds cannot be copied.
    """
    memo: dict[int, object] = {}
    for module in model.modules():
        for value in vars(module).values():
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, Tensor) and not item.is_leaf:
                    memo[id(item)] = item.detach().clone()
    try:
        copied = copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"`model` must be copyable; copy.deepcopy raised {type(error).__name__}: {reason}"
                         " Drop what cannot be copied from its attributes.") from error
    for module in copied.modules():
        if parametrize.is_parametrized(module):
            shared = type(module)
            own = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
            module.__class__ = type(shared.__name__, shared.__bases__, own)
    return copied


def detached_state(
    model: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | None = None,
    channels_last: bool = False
) -> dict[str, Tensor]:
    """Return copies of all parameters and buffers by qualified name, floating tensors cast to `dtype`.

    Tied parameters share one copy, so that the model stays tied. With `channels_last`, tensors of four
    axes lie in that order in memory.
    """
    copies: dict[int, Tensor] = {}
    state = {}
    named = list(model.named_parameters(remove_duplicate=False)) + list(model.named_buffers(remove_duplicate=False))
    for name, tensor in named:
        if id(tensor) not in copies:
            target = dtype if tensor.is_floating_point() else None
            order = torch.channels_last if channels_last and tensor.ndim == 4 else torch.preserve_format
            copies[id(tensor)] = tensor.detach().to(device=device, dtype=target, copy=True, memory_format=order)
        state[name] = copies[id(tensor)]
    return state


def run_on(model: nn.Module, state: dict[str, Tensor], inputs: Tensor) -> object:
    """Return ``model(inputs)`` with the tensors of `state`, such as a `detached_state`, in place of its own.

    ``torch.func.functional_call`` swaps tensors by name: of a module that is registered under two names it swaps each
    one twice, and puts the wrong one back. Here each tensor of a module goes by the first name of the module.
    """
    names = [f"{path}.{attribute}".lstrip(".") for path, module in model.named_modules()
             for attribute in (*module._parameters, *module._buffers)]
    given = {name: state[name] for name in names if name in state}
    return torch.func.functional_call(model, given, (inputs,), tie_weights=False)


def check_is_module(model: nn.Module) -> None:
    """Check that `model` is a module of Python.

    Raises
    ------
    DtypeError
        It is none.
    ModelError
        It is a program of TorchScript.
    """
    if not isinstance(model, nn.Module):
        raise DtypeError(f"`model` must be a torch.nn.Module; got {type(model).__name__}. Load or build one first.")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(f"`model` must be a module of Python; got {type(model).__name__} of TorchScript, which cannot"
                         " be hooked. Pass the model that it was made from.")


def check_module(model: nn.Module) -> None:
    """Check that `model` is a module whose parameters and buffers all have a shape.

    Raises
    ------
    DtypeError
        `model` is no ``torch.nn.Module``.
    ModelError
        It is a program of TorchScript, a lazy parameter has no shape yet, or one has no numbers.
    """
    check_is_module(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(tensor, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise ModelError(f"`model` must be initialised; {name!r} has no shape yet. Run one batch through it first.")
        if tensor.layout != torch.strided:
            raise ModelError(f"`model` must hold dense tensors; {name!r} is {tensor.layout}. Convert it with to_dense()"
                             " and prune with masks instead.")
        if tensor.is_meta:
            raise ModelError(f"`model` must hold numbers; {name!r} is on the meta device. Load its weights first.")


def check_model(model: nn.Module) -> None:
    """Check that `model` is a module with finite, initialised weights.

    Raises
    ------
    DtypeError, ModelError
        As `check_module`.
    NonFiniteError
        A parameter holds NaN or infinity, or a buffer NaN (infinity is at home in attention masks); the message names
        it.
    """
    check_module(model)
    bad = {name: ~torch.isfinite(tensor.detach()) for name, tensor in model.named_parameters()}
    bad |= {name: torch.isnan(tensor.detach()) for name, tensor in model.named_buffers()}
    for name, entries in bad.items():
        if entries.any():
            raise NonFiniteError(
                f"`model` must hold finite weights; {name!r} has {int(entries.sum())} NaN or infinite of"
                f" {entries.numel()} entries. Repair or reload it."
            )


def plain_name(name: str) -> str:
    """Return the name a parameter has in the plain model: no parametrisation, pruning hook or compiler in it.

    Examples
    --------
    >>> plain_name("fc1.parametrizations.weight.original"), plain_name("fc1.weight_orig")
    ('fc1.weight', 'fc1.weight')
    """
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    if parts[-1] == "original" and parts[-3:-2] == ["parametrizations"]:
        parts = parts[:-1]
    *path, last = [part for part in parts if part != "parametrizations"]
    return ".".join([*path, last.removesuffix("_orig") or last])


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside ``nn.DataParallel``, ``DistributedDataParallel`` and ``torch.compile``."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._modules["_orig_mod"]
        else:
            return model


class Owned(NamedTuple):
    """A parameter under its `name` in the model as it is, and the module and attribute through which it is used."""

    name: str
    tensor: Tensor
    module: nn.Module
    attribute: str

    def is_torch_pruned(self) -> bool:
        """Whether ``torch.nn.utils.prune`` masks it."""
        return self.name.endswith("_orig") and f"{self.attribute}_mask" in self.module._buffers


def owned_parameters(model: nn.Module) -> dict[str, Owned]:
    """Return every parameter of the model inside its wrappers by its plain name, tied ones under each of their names.

    Raises
    ------
    ModelError
        Two parameters have the same plain name.
    """
    found: dict[str, Owned] = {}
    model = unwrapped(model)
    for name, tensor in model.named_parameters(remove_duplicate=False):
        *path, attribute = name.split(".")
        if attribute == "original" and path[-2:-1] == ["parametrizations"]:
            *path, _, attribute = path
        module = model.get_submodule(".".join(path))
        if f"{attribute.removesuffix('_orig')}_mask" in module._buffers:
            attribute = attribute.removesuffix("_orig")
        plain = plain_name(name)
        if plain in found:
            raise ModelError(f"`model` must have distinct parameter names; {found[plain].name!r} and {name!r} are both"
                             f" {plain!r} without wrappers. Rename one.")
        found[plain] = Owned(name, tensor, module, attribute)
    return found
