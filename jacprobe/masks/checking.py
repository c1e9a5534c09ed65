"""Are removed weights zero?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError
from jacprobe.masks.application import carried_masks
from jacprobe.masks.fitting import check_fits
from jacprobe.masks.value import Masks
from jacprobe.modelstate import Owned, check_module, owned_parameters, preserved


def assert_masked(model: nn.Module, masks: Mapping[str, Tensor] | None = None) -> None:
    """Check that every removed weight of `model` is exactly zero where the forward pass uses it.

    Parameters
    ----------
    model
        Any module, left untouched: one that carries masks, or a plain one with zeros written in.
    masks
        The ``Masks`` to check, or a dict of bool tensors; by default those that `model` carries. Tied weights are
        checked at every owner.

    Raises
    ------
    DtypeError
        `model` is no module, or `masks` are no bool tensors by name.
    ModelError
        A removed weight is not zero; the message names it and its value. Or there is nothing to check: `masks` is None
        and `model` carries none.
    UnknownNameError, ShapeError, ArgumentError
        `masks` do not fit `model`.

    Examples
    --------
    >>> net = nn.Linear(2, 1)
    >>> assert_masked(net, {"weight": torch.tensor([[True, True]])})
    """
    check_module(model)
    owners = owned_parameters(model)
    if masks is None:
        masks = carried_masks(model)
        if not masks:
            raise ModelError("`model` must carry masks where none are given; it carries none. Pass `masks`.")
    masks = Masks(masks)
    check_fits(masks, {name: owned.tensor for name, owned in owners.items()})
    with preserved(model), torch.no_grad():  # reading a spectral norm in training mode would move it
        for name, mask in masks.items():
            for shown, owned in owners.items():
                if owned.tensor is owners[name].tensor:
                    _check_zeros(shown, effective_weight(owned), ~mask)


def effective_weight(owned: Owned) -> Tensor:
    """Return a parameter as the forward pass uses it.

    The attribute that ``torch.nn.utils.prune`` leaves behind is of the last forward pass; its product is taken anew.
    """
    if owned.is_torch_pruned():
        return owned.tensor * owned.module._buffers[f"{owned.attribute}_mask"]
    return getattr(owned.module, owned.attribute)


def _check_zeros(name: str, weight: Tensor, removed: Tensor) -> None:
    bad = (removed & (weight != 0).cpu()).nonzero()
    if len(bad):
        place = tuple(bad[0].tolist())
        raise ModelError(
            f"`model` must be zero where masks remove; {name}{list(place)} is {weight[place].item():.6g}"
            f" ({len(bad)} of {int(removed.sum())} removed weights of {name!r} are not zero)."
            " Apply the masks with masks.apply(model), which holds them at zero."
        )
