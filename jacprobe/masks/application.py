"""Masks in a model: put there, and found there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from jacprobe.masks.fitting import check_fits
from jacprobe.masks.parametrisation import KeepMask, hold_mask
from jacprobe.modelstate import Owned, check_is_module, check_module, copy_model, owned_parameters


def apply_masks(masks: Mapping[str, Tensor], model: nn.Module) -> nn.Module:
    """Return a masked copy of `model`; see ``Masks.apply``."""
    check_module(model)
    pruned = copy_model(model)
    owners = owned_parameters(pruned)
    check_fits(masks, {name: owned.tensor for name, owned in owners.items()})
    for name, mask in masks.items():
        for owned in owners.values():
            if owned.tensor is owners[name].tensor:
                _mask_parameter(owned, mask)
    return pruned


def carried_masks(model: nn.Module) -> dict[str, Tensor]:
    """Return the masks that `model` carries; see ``Masks.of``."""
    check_is_module(model)
    found: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    for name, owned in owned_parameters(model).items():
        carried = masks_on(owned)
        if not carried:
            continue
        mask = torch.stack([mask != 0 for mask in carried]).all(0)
        first = names.setdefault(id(owned.tensor), name)
        if first == name or not torch.equal(found[first], mask):
            found[name] = mask
    return found


def masks_on(owned: Owned) -> list[Tensor]:
    """Return the masks that a parameter has, those of ``torch.nn.utils.prune`` as numbers."""
    if owned.is_torch_pruned():
        return [owned.module._buffers[f"{owned.attribute}_mask"]]
    return [entry.mask for entry in _parametrizations(owned) if isinstance(entry, KeepMask)]


def _parametrizations(owned: Owned) -> list[nn.Module]:
    parametrized = parametrize.is_parametrized(owned.module, owned.attribute)
    return list(owned.module.parametrizations[owned.attribute]) if parametrized else []


def _mask_parameter(owned: Owned, mask: Tensor) -> None:
    # a buffer of its own, since loading a state dict writes into it, and laid out in memory as the weight it shows
    own = torch.empty_like(owned.tensor, dtype=torch.bool, requires_grad=False).copy_(mask)
    carried = masks_on(owned)
    if owned.is_torch_pruned():
        own &= carried[0] != 0
        drop_torch_pruning(owned, owned.tensor)
        carried = []
    if carried:
        carried[0] &= own
    else:
        hold_mask(owned.module, owned.attribute, own)


def drop_torch_pruning(owned: Owned, parameter: nn.Parameter) -> None:
    """Put a plain `parameter` where ``torch.nn.utils.prune`` masks one, in place."""
    module, name = owned.module, owned.attribute
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
    vars(module).pop(name, None)  # the product that the hook left behind
    for identifier, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == name:
            del module._forward_pre_hooks[identifier]
    module.register_parameter(name, parameter)
