"""Masks in a model: put there, and found there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import ModelError
from jacprobe.masks.fitting import check_fits
from jacprobe.masks.parametrisation import KeepMask
from jacprobe.modelstate import Owned, check_module, copy_model, owned_parameters


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
    if owned.is_torch_pruned():
        raise ModelError(
            f"`model` must not be pruned by torch.nn.utils.prune where masks are applied; "
            f"{owned.name!r} shows it. Call torch.nn.utils.prune.remove on it first."
        )
    mask = mask.to(owned.tensor.device, copy=True)  # a buffer of its own: loading a state dict writes into it
    carried = masks_on(owned)
    if carried:
        carried[0] &= mask
    else:  # unsafe only skips a trial run, which would move the power iteration of a spectral norm
        parametrize.register_parametrization(owned.module, owned.attribute, KeepMask(mask), unsafe=True)
        owned.module.parametrizations.train(owned.module.training)
