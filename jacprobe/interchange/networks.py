"""The dense network behind a mask: its tensors by plain name, and which of them are tied."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from jacprobe.checkpoint.naming import is_state_dict, plain_state
from jacprobe.errors import ArgumentError, CheckpointError, DtypeError, ModelError
from jacprobe.masks import KeepMask, Masks
from jacprobe.masks.application import masks_on
from jacprobe.masks.fitting import check_fits
from jacprobe.modelstate import check_module, owned_parameters, unwrapped

Network = nn.Module | Mapping[str, Tensor]


def dense_weights(model: Network) -> dict[str, Tensor]:
    """Return the tensors of `model`'s state dict by plain name, without masks; removed weights as they are kept hidden.

    Raises
    ------
    DtypeError
        `model` is neither a module nor a state dict.
    ModelError
        A masked weight has another parametrisation too, so that it has no plain name; or a mask in a state dict is no
        mask of its weight.
    """
    if not isinstance(model, nn.Module):
        return _plain(model)[0]
    check_module(model)
    names, left_out = {}, set()
    for name, owned in owned_parameters(model).items():
        if not masks_on(owned):
            continue
        names[owned.name] = name
        if owned.is_torch_pruned():
            left_out.add(f"{owned.name.removesuffix('_orig')}_mask")
            continue
        entries = owned.module.parametrizations[owned.attribute]
        others = [type(entry).__name__ for entry in entries if not isinstance(entry, KeepMask)]
        if others:
            raise ModelError(f"`model` must have masked weights with no other parametrisation; {name!r} has"
                             f" {others[0]}. Write the masks alone, or pass jp.remove_masks(model).")
        left_out |= {f"{owned.name.removesuffix('original')}{i}.mask" for i in range(len(entries))}
    state = unwrapped(model).state_dict()
    return {names.get(key, key.replace("_orig_mod.", "")): tensor for key, tensor in state.items()
            if key not in left_out and isinstance(tensor, Tensor)}


def _plain(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Masks]:
    """Return the tensors of a state dict by plain name, zero where masked, and its masks."""
    if not is_state_dict(state):
        raise DtypeError(f"`model` must be a torch.nn.Module or a state dict; got {type(state).__name__}."
                         " Load one first.")
    try:
        return plain_state(state)[:2]
    except CheckpointError as error:
        raise ModelError(f"`model` must be a sound state dict: {error}. Pass that of the dense model.") from error


def parameter_tensors(model: Network) -> dict[str, Tensor]:
    """Return what masks may name in `model`: parameters of a module, all tensors of a state dict."""
    if isinstance(model, nn.Module):
        check_module(model)
        return {name: owned.tensor.detach() for name, owned in owned_parameters(model).items()}
    return dense_weights(model)


def fitted(masks: Masks, model: Network) -> Masks:
    """Return `masks` after checking that they fit `model`; a tied weight under its first name only."""
    tensors = parameter_tensors(model)
    check_fits(masks, tensors)
    return once(masks, tensors)


def once(masks: Masks, tensors: Mapping[str, Tensor]) -> Masks:
    """Return `masks` in the order of `tensors`, a tied weight whose masks are equal once, as ``Masks.of`` does."""
    first: dict[tuple, str] = {}
    kept = {}
    for name in tensors:
        if name in masks:
            other = first.setdefault(_place(tensors[name], name), name)
            if other == name or not torch.equal(kept[other], masks[name]):
                kept[name] = masks[name]
    return Masks(kept, masks.provenance)


def at_every_owner(masks: Masks, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mask of each tensor, tied ones under all of their names."""
    places = {_place(weights[name], name): mask for name, mask in masks.items()}
    tied = {name: places[_place(tensor, name)] for name, tensor in weights.items() if _place(tensor, name) in places}
    return {**tied, **masks}


def tied_once(tensors: Mapping[str, Tensor], make: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """Return what `make` gives for each name; tied tensors get one result."""
    made: dict[tuple, Tensor] = {}
    results = {}
    for name, tensor in tensors.items():
        place = _place(tensor, name)
        results[name] = made[place] if place in made else made.setdefault(place, make(name))
    return results


def check_carried(masks: Masks, model: Network) -> None:
    """Check that `model` itself removes no weight that `masks` keep: a file could not say both.

    Raises
    ------
    ArgumentError
        It does.
    """
    carried = Masks.of(model) if isinstance(model, nn.Module) else _plain(model)[1]
    for name, mask in carried.items():
        if name not in masks or bool((masks[name] & ~mask).any()):
            raise ArgumentError(f"`model` must be dense or carry the masks to write; it removes weights of {name!r}"
                                " which they keep. Pass the dense model, or Masks.of(model) as masks.")


def _place(tensor: Tensor, name: str) -> tuple:
    """Where a tensor lies in memory; an empty one lies nowhere."""
    return (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else (name,)
