"""From the many shapes of a saved state to plain parameter names and masks."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jacprobe.errors import CheckpointError
from jacprobe.masks import Masks
from jacprobe.masks.removal import bake_masks

# Keys under which training scripts keep the weights, in order of preference.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "state_dict_ema",
            "model_ema", "ema", "params", "weights")
_WRAPPER_DEPTH = 3


def unwrap(value: object) -> tuple[object, tuple[str, ...]]:
    """Return the state dict or module inside `value`, and notes on the keys that led there.

    What holds neither comes back as it is.
    """
    notes: list[str] = []
    for _ in range(_WRAPPER_DEPTH):
        if isinstance(value, nn.Module) or is_state_dict(value) or not isinstance(value, Mapping):
            break
        found = [key for key in WRAPPERS if isinstance(value.get(key), (Mapping, nn.Module))]
        if not found:
            break
        rest = [key for key, item in value.items() if key != found[0] and isinstance(key, str)
                and (key in found or isinstance(item, nn.Module) or is_state_dict(item))]
        others = f" (also there: {', '.join(rest)})" if rest else ""
        notes.append(f"unwrapped key {found[0]!r}{others}")
        value = value[found[0]]
    if isinstance(value, nn.DataParallel):
        notes.append("unwrapped DataParallel")
        value = value.module
    return value, tuple(notes)


def is_state_dict(value: object) -> bool:
    """Return whether `value` maps names to tensors, apart from the extra state that modules may add."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    tensors = [isinstance(item, Tensor) for key, item in value.items() if not key.endswith("_extra_state")]
    return bool(tensors) and all(tensors)


def plain_state(state: Mapping[str, object]) -> tuple[dict[str, Tensor], Masks, tuple[str, ...]]:
    """Return a state dict with plain names and exact zeros where masked, the masks in it, and notes on the changes.

    Understood are the keys of ``torch.nn.utils.prune`` (`weight_orig`, `weight_mask`), a weight with a mask beside it
    (`weight`, `weight_mask`) and masks as parametrisations (`parametrizations.weight.original`, `.0.mask`), and the
    prefixes of ``DataParallel`` and ``torch.compile``.

    Raises
    ------
    CheckpointError
        A mask has another shape than its weight or holds other values than 0 and 1, or two keys mean one parameter.
    """
    tensors, notes = strip_prefixes({key: item for key, item in state.items() if isinstance(item, Tensor)})
    if len(tensors) < len(state):
        notes.append("left out the extra state of modules")
    groups = {key: _mask_group(key, tensors) for key in tensors}
    used_masks = {mask for _, keys in groups.values() for mask in keys}
    plain: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for key, (name, mask_keys) in groups.items():
        if key in used_masks:
            continue
        if name in plain:
            raise CheckpointError(f"the file must hold each parameter once; {name!r} is there twice")
        plain[name] = tensors[key]
        for mask_key in mask_keys:
            mask = binary_mask(tensors[mask_key], mask_key, plain[name])
            masks[name] = masks[name] & mask if name in masks else mask
        if name in masks:
            plain[name] = torch.where(masks[name], plain[name], 0)
    if masks:
        notes.append(f"read masks of {len(masks)} parameters")
    return plain, Masks(masks), tuple(notes)


def binary_mask(mask: Tensor, key: str, weight: Tensor | None = None) -> Tensor:
    """Return `mask` as bool tensor after checking that it holds only 0 and 1, and has the shape of `weight`."""
    if weight is not None and mask.shape != weight.shape:
        raise CheckpointError(
            f"a mask must have the shape of its weight; {key!r} is {tuple(mask.shape)} for {tuple(weight.shape)}"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise CheckpointError(f"a mask must hold only 0 and 1; {key!r} holds other values")
    return mask != 0


def strip_prefixes(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return `tensors` without the prefixes of ``DataParallel`` and ``torch.compile``, and notes on them."""
    notes = []
    while True:
        if tensors and all(key.startswith("module.") for key in tensors):
            prefix, renamed = "module.", {key.removeprefix("module."): item for key, item in tensors.items()}
        elif any("_orig_mod." in key for key in tensors):
            prefix, renamed = "_orig_mod.", {key.replace("_orig_mod.", ""): item for key, item in tensors.items()}
        else:
            return tensors, notes
        if len(renamed) < len(tensors):
            raise CheckpointError(f"the file must hold each parameter once; without {prefix!r} some names coincide")
        notes.append(f"stripped prefix {prefix!r}")
        tensors = renamed


def _mask_group(key: str, tensors: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """Return the plain name of the parameter at `key` and the keys of its masks."""
    base = key.removesuffix("_orig")
    if base != key and f"{base}_mask" in tensors:
        return base, [f"{base}_mask"]
    match = re.fullmatch(r"(.*\.|)parametrizations\.([^.]+)\.original", key)
    if match:
        siblings = [other for other in tensors if other.startswith(key.removesuffix("original")) and other != key]
        if siblings and all(re.fullmatch(r"\d+\.mask", s.removeprefix(key.removesuffix("original"))) for s in siblings):
            return match[1] + match[2], siblings
    beside = f"{key}_mask"
    if beside in tensors and tensors[beside].shape == tensors[key].shape:
        return key, [beside]
    return key, []


def plain_module(module: nn.Module) -> Masks:
    """Turn what ``torch.nn.utils.prune`` left in `module` into plain parameters, in place, and return the masks.

    Raises
    ------
    CheckpointError
        A mask is no mask of its weight.
    """
    pruned = [
        (owner, name.removesuffix("_orig"))
        for owner in module.modules()
        for name in list(owner._parameters)
        if name.endswith("_orig") and name.removesuffix("_orig") + "_mask" in owner._buffers
    ]
    for owner, name in pruned:
        binary_mask(owner._buffers[f"{name}_mask"], f"{name}_mask", owner._parameters[f"{name}_orig"])
    masks = Masks.of(module)
    bake_masks(module)
    return masks
