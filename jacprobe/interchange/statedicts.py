"""State dicts in which a mask stands beside each weight, in three conventions, or shows as exact zeros."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from jacprobe.checkpoint.naming import binary_mask, plain_module
from jacprobe.errors import CheckpointError, JacprobeWarning
from jacprobe.interchange.contents import Content
from jacprobe.interchange.networks import at_every_owner, dense_weights, once, tied_once
from jacprobe.masks import Masks
from jacprobe.modelstate import plain_name

_SURE = ("weight_mask", "bias_mask")  # keys that mean a mask and nothing else
_BESIDE_WEIGHT = ("mask", "_mask", "keep_mask", "_weight_mask")  # a module's one mask in other tools, beside `weight`


class Found(NamedTuple):
    """Masks and the tensors of the dense network, both by plain name."""

    masks: Masks
    weights: dict[str, Tensor]


class Pair(NamedTuple):
    """The keys of a mask and of its weight."""

    mask: str
    weight: str


Pairs = Callable[[Mapping[str, Tensor]], Iterator[Pair]]


def torch_prune_pairs(tensors: Mapping[str, Tensor]) -> Iterator[Pair]:
    """Find ``weight_orig`` and ``weight_mask``."""
    for key in tensors:
        weight = f"{key.removesuffix('_mask')}_orig"
        if key.endswith("_mask") and weight in tensors:
            yield Pair(key, weight)


def parametrized_pairs(tensors: Mapping[str, Tensor]) -> Iterator[Pair]:
    """Find ``parametrizations.weight.original`` and ``parametrizations.weight.0.mask``."""
    for key in tensors:
        match = re.fullmatch(r"((?:.*\.)?parametrizations\.[^.]+\.)\d+\.mask", key)
        if match and f"{match[1]}original" in tensors:
            yield Pair(key, f"{match[1]}original")


def weight_mask_pairs(tensors: Mapping[str, Tensor]) -> Iterator[Pair]:
    """Find ``weight`` and ``weight_mask``, or a mask under another name beside ``weight``.

    A buffer called `mask` may be something else, as in attention; one of the shape of `weight` is taken for its mask.
    """
    for key, tensor in tensors.items():
        path, dot, last = key.rpartition(".")
        weight = f"{path}{dot}weight" if last in _BESIDE_WEIGHT else key.removesuffix("_mask")
        if weight in tensors and weight != key and (last in _SURE or tensor.shape == tensors[weight].shape):
            yield Pair(key, weight)


def _sure_pairs(tensors: Mapping[str, Tensor]) -> Iterator[Pair]:
    """Find pairs of all conventions but masks under names that may mean something else."""
    yield from torch_prune_pairs(tensors)
    yield from parametrized_pairs(tensors)
    yield from (pair for pair in weight_mask_pairs(tensors) if pair.mask.rpartition(".")[2] not in _BESIDE_WEIGHT)


def read_pairs(content: Content, pairs: Pairs) -> Found:
    """Read the masks that `pairs` finds and the weights without them.

    Masks that stand there in another convention, as of a model pruned by two tools, are read with them.

    Raises
    ------
    CheckpointError
        There is none, one has no weight, another shape or other values than 0 and 1, or a name occurs twice.
    """
    if content.module is not None:
        return _read_module(content)
    tensors, path = content.tensors, content.path
    found = list(pairs(tensors))
    if not found:
        raise CheckpointError(f"`{path}` must hold masks beside its weights; it has none that are named so. Leave"
                              " `format` (`--from`) out to detect it, or see its keys with jacprobe info.")
    found += [pair for pair in _sure_pairs(tensors) if pair not in found]
    of_mask = {pair.mask: pair.weight for pair in found}
    lonely = [key for key in tensors if key.rpartition(".")[2] in _SURE and key not in of_mask]
    if lonely:
        raise CheckpointError(f"`{path}` must hold the weight of each mask; that of {lonely[0]!r} is missing."
                              " Save it again.")
    names = {pair.weight: plain_name(pair.weight) for pair in found}
    weights: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key in of_mask:
            continue
        name = names.get(key, key)
        if name in weights:
            raise CheckpointError(f"`{path}` must hold each parameter once; {name!r} is there twice. Save it again.")
        weights[name] = tensor
    masks: dict[str, Tensor] = {}
    for pair in found:
        mask = checked_mask(content, tensors[pair.mask], pair.mask, tensors[pair.weight])
        name = names[pair.weight]
        masks[name] = masks[name] & mask if name in masks else mask
    return Found(once(Masks(masks), weights), weights)


def checked_mask(content: Content, mask: Tensor, key: str, weight: Tensor | None = None) -> Tensor:
    """Return the mask at `key` as bool tensor, or refuse the file."""
    try:
        return binary_mask(mask, key, weight)
    except CheckpointError as error:
        raise CheckpointError(f"`{content.path}` must hold sound masks: {error}. Save it again.") from error


def _read_module(content: Content) -> Found:
    """Read a module that was pickled while ``torch.nn.utils.prune`` masked it."""
    weights = dense_weights(content.module)
    try:
        masks = plain_module(content.module)
    except CheckpointError as error:
        raise CheckpointError(f"`{content.path}` must hold sound masks: {error}. Save it again.") from error
    if not masks:
        raise CheckpointError(f"`{content.path}` must hold masks; its module has none. Name a pruned model.")
    return Found(masks, weights)


def read_zeros(content: Content) -> Found:
    """Take the exact zeros of all tensors of at least two axes for removed weights, and warn of it."""
    weights = content.tensors if content.module is None else dense_weights(content.module)
    floating = {name: tensor for name, tensor in weights.items() if tensor.ndim >= 2 and tensor.is_floating_point()}
    if not floating:
        raise CheckpointError(f"`{content.path}` must hold weights of two and more axes; it has none. Name a model"
                              " file.")
    masks = zeros_of(floating)
    warnings.warn(
        f"`{content.path}` holds no masks: the {masks.num_prunable - masks.num_kept} exact zeros in its {len(masks)}"
        " tensors of two and more axes are taken for removed weights; a kept weight that is exactly zero is lost.",
        JacprobeWarning, stacklevel=2)
    return Found(masks, dict(weights))


def zeros_of(weights: Mapping[str, Tensor]) -> Masks:
    """Return masks that remove the exact zeros, tied weights once."""
    return once(Masks({name: tensor != 0 for name, tensor in weights.items()}), weights)


# name, weight as the network keeps it, weight with zeros, mask -> entries of a state dict
Layout = Callable[[str, Tensor, Tensor, Tensor], dict[str, Tensor]]


def torch_prune_layout(name: str, weight: Tensor, shown: Tensor, mask: Tensor) -> dict[str, Tensor]:
    return {f"{name}_orig": weight, f"{name}_mask": mask.to(weight.dtype)}  # a mask of the weight's dtype, as torch's


def weight_mask_layout(name: str, weight: Tensor, shown: Tensor, mask: Tensor) -> dict[str, Tensor]:
    return {name: shown, f"{name}_mask": mask.to(weight.dtype)}


def parametrized_layout(name: str, weight: Tensor, shown: Tensor, mask: Tensor) -> dict[str, Tensor]:
    path, dot, last = name.rpartition(".")
    base = f"{path}{dot}parametrizations.{last}"
    return {f"{base}.original": weight, f"{base}.0.mask": mask}


def dense_layout(name: str, weight: Tensor, shown: Tensor, mask: Tensor) -> dict[str, Tensor]:
    return {name: shown}


def arranged(masks: Masks, weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Return the state dict of the masked network in one of the conventions, on the CPU; tied weights stay tied."""
    everywhere = at_every_owner(masks, weights)
    originals = tied_once(weights, lambda name: weights[name].detach().cpu())
    shown = tied_once(weights, lambda name: torch.where(everywhere[name], originals[name], 0)
                      if name in everywhere else originals[name])
    state: dict[str, Tensor] = {}
    for name, weight in originals.items():
        state |= layout(name, weight, shown[name], everywhere[name]) if name in everywhere else {name: weight}
    return state


def save_state(state: Mapping[str, Tensor], file: BinaryIO, *, as_safetensors: bool) -> None:
    """Write a state dict; safetensors cannot hold one tensor under two names, so it gets copies."""
    if as_safetensors:
        file.write(safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in state.items()}))
    else:
        torch.save(dict(state), file)


def write_zeros(masks: Masks, weights: Mapping[str, Tensor], file: BinaryIO, *, as_safetensors: bool) -> None:
    """Write zeros in place of masks, and warn where reading them would give other masks."""
    state = arranged(masks, weights, dense_layout)
    floating = {name: tensor for name, tensor in state.items() if tensor.ndim >= 2 and tensor.is_floating_point()}
    read = zeros_of(floating) if floating else Masks({})
    lost = [name for name in masks if name not in read or not torch.equal(read[name], masks[name])]
    added = [name for name in read if name not in masks and not read[name].all()]
    if lost or added:
        warnings.warn(
            f"`dense` keeps no masks: those of {', '.join([*lost, *added][:3])} cannot be read back from exact zeros"
            f" ({len(lost) + len(added)} of {len(masks)}). Write a format with masks too.",
            JacprobeWarning, stacklevel=2)
    save_state(state, file, as_safetensors=as_safetensors)
