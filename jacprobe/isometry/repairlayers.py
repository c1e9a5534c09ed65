"""The layers that a repair works on: a copy of the model, with the weight and the mask of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import ArgumentError, ModelError
from jacprobe.isometry.checks import check_weight
from jacprobe.isometry.repair.blocks import from_blocks, to_blocks
from jacprobe.isometry.repair.support import structural_rank
from jacprobe.masks.application import masks_on
from jacprobe.masks.parametrisation import KeepMask
from jacprobe.modelstate import AFFINE, Owned, owned_parameters, plain_name, unwrapped


@dataclass(frozen=True, eq=False)
class RepairLayer:
    """One linear or convolutional layer.

    Attributes
    ----------
    name
        Of its weight.
    owners
        All parameters that are this weight, where it is tied more than one.
    blocks, masks
        Kept weights in float64 and bool, `(groups, fan_in, outputs)`.
    """

    name: str
    owners: tuple[Owned, ...]
    blocks: Tensor
    masks: Tensor

    @property
    def module(self) -> nn.Module:
        return self.owners[0].module

    @property
    def floor(self) -> float:
        """Least residual on the outputs' side for any kept weights: the root of the singular values that must be 0."""
        ranks = sum(structural_rank(mask) for mask in self.masks)
        return math.sqrt(len(self.masks) * self.masks.shape[2] - ranks)

    def read(self) -> Tensor:
        """Return the blocks with the kept weights that the model holds now."""
        weight = self.owners[0].tensor.detach().double()
        return torch.where(self.masks, to_blocks(self.module, weight), 0)

    def write(self, blocks: Tensor) -> None:
        """Put new values in place of the kept weights of the model it is of; removed ones stay as they are.

        Raises
        ------
        ArgumentError
            The dtype of the weight cannot hold them.
        """
        owned = self.owners[0]
        shape = owned.tensor.shape
        kept = from_blocks(self.module, self.masks, shape)
        values = from_blocks(self.module, blocks, shape)
        with torch.no_grad():
            owned.tensor.copy_(torch.where(kept, values, owned.tensor.double()))
        if not bool(owned.tensor.isfinite().all()):
            raise ArgumentError(f"`gain` must give weights that {owned.tensor.dtype} can hold; those of {self.name!r}"
                                f" go up to {float(values.abs().max()):.3g}. Pass a smaller gain or a model of more"
                                " precision.")
        for one in self.owners:
            if one.is_torch_pruned():  # the product of the last forward pass, which is stale now
                mask = one.module._buffers[f"{one.attribute}_mask"]
                setattr(one.module, one.attribute, one.tensor.detach() * mask)


def repair_layers(model: nn.Module) -> list[RepairLayer]:
    """Return the layers of `model`, tied ones once.

    Raises
    ------
    ModelError, DtypeError
        There is none; one has no entries or no kept weights, or is complex; a weight is computed from other parameters,
        or tied under unlike masks.
    """
    known = owned_parameters(model)
    found: dict[int, RepairLayer] = {}
    for name, module in unwrapped(model).named_modules():
        weight = plain_name(f"{name}.weight" if name else "weight")
        if not isinstance(module, AFFINE):
            continue
        if weight not in known or not _is_plain(known[weight]):
            raise ModelError(f"`model` must own its weights; {weight!r} is computed from other parameters. Remove that"
                             " parametrisation first.")
        tensor = known[weight].tensor
        check_weight(weight, tensor)
        if id(tensor) not in found:
            owners = tuple(owned for owned in known.values() if owned.tensor is tensor)
            found[id(tensor)] = _layer(weight, module, owners)
    if not found:
        raise ModelError("`model` must have a linear or convolutional layer; it has none. Pass a network with weights.")
    return list(found.values())


def _layer(name: str, module: nn.Module, owners: tuple[Owned, ...]) -> RepairLayer:
    tensor = owners[0].tensor.detach()
    masks = [_mask(owned) for owned in owners]
    if any(not torch.equal(mask, masks[0]) for mask in masks):
        raise ModelError(f"`model` must have one mask for a tied weight; those of"
                         f" {' and '.join(repr(owned.name) for owned in owners)} differ. Apply the same to both.")
    if not masks[0].any():
        raise ModelError(f"`model` must keep a weight in every layer; {name!r} keeps none of {tensor.numel()}, so that"
                         " nothing passes. Prune with min_kept=1 or another allocation.")
    weight = torch.where(masks[0], tensor, 0).double()
    return RepairLayer(name, owners, to_blocks(module, weight).contiguous(),
                       to_blocks(module, masks[0]).contiguous())


def _mask(owned: Owned) -> Tensor:
    masks = [mask != 0 for mask in masks_on(owned)]
    return torch.stack(masks).all(0) if masks else torch.ones_like(owned.tensor, dtype=torch.bool)


def _is_plain(owned: Owned) -> bool:
    """Whether a weight is a parameter with nothing but masks over it."""
    if not parametrize.is_parametrized(owned.module, owned.attribute):
        return True
    return all(isinstance(entry, KeepMask) for entry in owned.module.parametrizations[owned.attribute])
