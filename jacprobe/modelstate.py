"""The state of a model: copy it, read it, and give it back untouched."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jacprobe.errors import DtypeError, ModelError, NonFiniteError


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode for the block, then restore all of it and the global random state.

    Training flags, plain attributes and the module dictionaries come back as they were. Buffers are safe when the
    block runs the model through `torch.func.functional_call` on a `detached_state`, as every caller here does.
    """
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    registries = [[(registry, dict(registry)) for registry in _registries(module)] for module in modules]
    devices = list({t.device for t in _tensors(model) if t.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        try:
            model.eval()
            yield
        finally:
            for module, saved, dictionaries in zip(modules, attributes, registries, strict=True):
                vars(module).clear()
                vars(module).update(saved)
                for registry, content in dictionaries:
                    if list(registry.items()) != list(content.items()):
                        registry.clear()
                        registry.update(content)


def _registries(module: nn.Module) -> list[dict]:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_modules")
    return [vars(module)[name] for name in names]


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def copy_model(model: nn.Module) -> nn.Module:
    """Return a deep copy of `model`, also where a pruning hook left a non-leaf tensor as plain attribute.

    Notes
    -----
    ``copy.deepcopy`` refuses non-leaf tensors (pytorch#37322); they are derived values and are copied detached.
    """
    memo: dict[int, object] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def detached_state(
    model: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> dict[str, Tensor]:
    """Return copies of all parameters and buffers by qualified name, floating tensors cast to `dtype`.

    Tied parameters share one copy, so that ``functional_call`` sees them tied.
    """
    copies: dict[int, Tensor] = {}
    state = {}
    named = list(model.named_parameters(remove_duplicate=False)) + list(model.named_buffers(remove_duplicate=False))
    for name, tensor in named:
        if id(tensor) not in copies:
            target = dtype if tensor.is_floating_point() else None
            copies[id(tensor)] = tensor.detach().to(device=device, dtype=target, copy=True)
        state[name] = copies[id(tensor)]
    return state


def check_model(model: nn.Module) -> None:
    """Check that `model` is a module with finite, initialised weights.

    Raises
    ------
    DtypeError
        `model` is no ``torch.nn.Module``.
    ModelError
        A lazy parameter has no shape yet.
    NonFiniteError
        A parameter or floating buffer holds NaN or infinity; the message names it.
    """
    if not isinstance(model, nn.Module):
        raise DtypeError(f"`model` must be a torch.nn.Module; got {type(model).__name__}. Load or build one first.")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(tensor, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise ModelError(f"`model` must be initialised; {name!r} has no shape yet. Run one batch through it first.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise NonFiniteError(
                f"`model` must hold finite weights; {name!r} has {bad} NaN or infinite of {tensor.numel()} entries."
                " Repair or reload it."
            )


def plain_name(name: str) -> str:
    """Return the name a parameter has in the plain model: no parametrisation, pruning hook or wrapper in it.

    Examples
    --------
    >>> plain_name("module.fc1.parametrizations.weight.original"), plain_name("fc1.weight_orig")
    ('fc1.weight', 'fc1.weight')
    """
    parts = [part for part in name.split(".") if part not in ("parametrizations", "_orig_mod")]
    if parts[0] == "module":
        parts = parts[1:]
    if parts[-1] == "original":
        parts = parts[:-1]
    return ".".join(parts).removesuffix("_orig")
