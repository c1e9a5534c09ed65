"""A plain copy of a masked network, which is faster to train, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.masks import KeepMask
from jacprobe.masks.application import drop_torch_pruning, masks_on
from jacprobe.masks.checking import effective_weight
from jacprobe.modelstate import AFFINE, Owned, copy_model, owned_parameters, unwrapped


class Trained(NamedTuple):
    """A parameter that is trained: its mask as numbers of its dtype, None for none; whether the penalty counts it."""

    parameter: nn.Parameter
    mask: Tensor | None
    penalised: bool


class PlainCopy:
    """A copy of `model` without wrappers, and without masks wherever masking the gradients does the same.

    Masks stay in the forward pass where other parametrisations see the weight too, where a tied weight has several
    masks, and in recurrent modules, which keep lists of their weights.

    Attributes
    ----------
    net
        The copy, on `device`, in training mode.
    trained
        Its parameters that require gradients, each once.
    """

    def __init__(self, model: nn.Module, device: torch.device, *, channels_last: bool = False):
        self.net = unwrapped(copy_model(model))
        masks = _unmasked(self.net)
        order = torch.channels_last if channels_last else torch.preserve_format
        self.net.to(device=device, memory_format=order).train()
        self.trained = _trained(self.net, masks)

    def tensors(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name, tied ones once; not copies."""
        named = [*self.net.named_parameters(), *self.net.named_buffers()]
        return {name: tensor.detach() for name, tensor in named}

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the numbers of `tensors`, as `tensors()` names them."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def written(self, model: nn.Module) -> nn.Module:
        """Return a copy of `model`, from which this one was made, with the weights and buffers of this one.

        Weights that a mask hides are those of `model`.
        """
        result = copy_model(model)
        plain = owned_parameters(self.net)
        for name, owned in owned_parameters(result).items():
            value = plain[name].tensor.detach().to(owned.tensor.device)
            masks = _masks_to_drop(owned)
            owned.tensor.copy_(torch.where(_kept(masks), value, owned.tensor) if masks else value)
        buffers = dict(unwrapped(result).named_buffers())
        for name, buffer in self.net.named_buffers():
            buffers[name].copy_(buffer)
        for owned in owned_parameters(result).values():
            if owned.is_torch_pruned():  # what the hook of the last forward pass left behind
                setattr(owned.module, owned.attribute, effective_weight(owned))
        return result


def _unmasked(net: nn.Module) -> dict[str, Tensor]:
    """Put plain parameters in place of masked ones, zeros written in; return the masks by plain name."""
    groups: dict[int, dict[str, Owned]] = {}
    for name, owned in owned_parameters(net).items():
        groups.setdefault(id(owned.tensor), {})[name] = owned
    found = {}
    for owners in groups.values():
        group = list(owners.values())
        masks = [_masks_to_drop(owned) for owned in group]
        if not all(masks) or any(not torch.equal(_kept(other), _kept(masks[0])) for other in masks):
            continue
        tensor, kept = group[0].tensor, _kept(masks[0])
        parameter = nn.Parameter(torch.where(kept, tensor.detach(), 0), tensor.requires_grad)
        for owned in {(id(owned.module), owned.attribute): owned for owned in group}.values():
            _replace(owned, parameter)
        found |= dict.fromkeys(owners, kept)
    return found


def _masks_to_drop(owned: Owned) -> list[Tensor]:
    """Return the masks of a parameter if nothing but masks changes it on its way into the forward pass."""
    masks = masks_on(owned)
    if isinstance(owned.module, nn.RNNBase):
        return []
    if not owned.is_torch_pruned() and masks:
        entries = owned.module.parametrizations[owned.attribute]
        return masks if all(isinstance(entry, KeepMask) for entry in entries) else []
    return masks


def _kept(masks: list[Tensor]) -> Tensor:
    return torch.stack([mask != 0 for mask in masks]).all(0)


def _replace(owned: Owned, parameter: nn.Parameter) -> None:
    if owned.is_torch_pruned():
        drop_torch_pruning(owned, parameter)
        return
    parametrize.remove_parametrizations(owned.module, owned.attribute, leave_parametrized=False)
    del owned.module._parameters[owned.attribute]
    owned.module.register_parameter(owned.attribute, parameter)


def _trained(net: nn.Module, masks: dict[str, Tensor]) -> list[Trained]:
    found: dict[int, Trained] = {}
    for name, owned in owned_parameters(net).items():
        tensor, mask = owned.tensor, masks.get(name)
        if not tensor.requires_grad:
            continue
        penalised = mask is not None or bool(masks_on(owned)) or isinstance(owned.module, AFFINE)
        if mask is not None:  # laid out in memory as the weight, for one kernel over both
            mask = torch.empty_like(tensor, requires_grad=False).copy_(mask)
        if id(tensor) in found:
            penalised |= found[id(tensor)].penalised
        found[id(tensor)] = Trained(tensor, mask, penalised)
    return list(found.values())
