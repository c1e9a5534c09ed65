"""Bake masks into plain weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from jacprobe.masks.application import drop_torch_pruning, masks_on
from jacprobe.masks.checking import effective_weight
from jacprobe.modelstate import Owned, check_module, copy_model, owned_parameters


def remove_masks(model: nn.Module) -> nn.Module:
    """Return a plain copy of `model` that computes the same, with zeros where its masks removed weights.

    The copy has the parameter names of the dense model and can be pickled. Nothing holds the zeros there: training
    moves them. Keep ``Masks.of(model)`` to apply the masks again.

    Parameters
    ----------
    model
        Any module, masked by ``Masks.apply`` or ``torch.nn.utils.prune``, or dense.

    Returns
    -------
    torch.nn.Module
        Other parametrisations of a masked weight are baked in with the mask; those of other weights stay. Weights
        stay tied where their masks are equal.

    Raises
    ------
    DtypeError, ModelError
        `model` is no module, or cannot be copied.

    Examples
    --------
    >>> from jacprobe.masks import Masks
    >>> pruned = Masks({"weight": torch.tensor([[True, False]])}).apply(nn.Linear(2, 1))
    >>> sorted(remove_masks(pruned).state_dict())
    ['bias', 'weight']
    """
    check_module(model)
    plain = copy_model(model)
    bake_masks(plain)
    return plain


def bake_masks(model: nn.Module) -> None:
    """Turn the masked parameters of `model` into plain ones, in place."""
    masked = {(id(owned.module), owned.attribute): owned for owned in owned_parameters(model).values()
              if masks_on(owned)}  # a module under two names once
    baked = _baked(list(masked.values()))  # all are read before the first is replaced
    for owned, parameter in zip(masked.values(), baked, strict=True):
        if owned.is_torch_pruned():
            drop_torch_pruning(owned, parameter)
        else:
            parametrize.remove_parametrizations(owned.module, owned.attribute, leave_parametrized=False)
            del owned.module._parameters[owned.attribute]
            owned.module.register_parameter(owned.attribute, parameter)


def _baked(masked: list[Owned]) -> list[nn.Parameter]:
    """Return the parameter that takes the place of each; one for all owners of a tied weight with equal masks."""
    made: dict[int, list[nn.Parameter]] = {}
    baked = []
    for owned in masked:
        kept = torch.stack([mask != 0 for mask in masks_on(owned)]).all(0)
        was_training = owned.module.training
        owned.module.eval()  # reading a spectral norm in training mode would move it
        weight = torch.where(kept, (owned.tensor if owned.is_torch_pruned() else effective_weight(owned)).detach(), 0)
        owned.module.train(was_training)
        twins = made.setdefault(id(owned.tensor), [])
        parameter = next((twin for twin in twins if torch.equal(twin, weight)), None)
        if parameter is None:
            parameter = nn.Parameter(weight.clone(), owned.tensor.requires_grad)
            twins.append(parameter)
        baked.append(parameter)
    return baked
