"""Files of masks alone, as other tools write them: open_lth, NNI, NumPy archives."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from jacprobe.checkpoint.loading import named
from jacprobe.checkpoint.naming import strip_prefixes
from jacprobe.errors import CheckpointError
from jacprobe.interchange.contents import Content
from jacprobe.interchange.statedicts import checked_mask
from jacprobe.masks import Masks
from jacprobe.modelstate import plain_name

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def is_open_lth(content: Content) -> bool:
    """Whether a state dict holds 0 and 1 alone; a fresh batch norm does too, and is known by its statistics."""
    tensors = content.tensors
    return bool(tensors) and not any(name.rpartition(".")[2] in _STATISTICS for name in tensors) and all(
        bool(((tensor == 0) | (tensor == 1)).all()) for tensor in tensors.values())


def read_open_lth(content: Content) -> Masks:
    if not content.tensors:
        raise CheckpointError(f"`{content.path}` must be a dict from parameter name to tensor; it holds"
                              f" {_kind(content.inner)}. Leave `format` (`--from`) out to detect it.")
    return plain_masks(content, content.tensors)


def write_open_lth(masks: Masks, file: BinaryIO) -> None:
    torch.save({name: mask.int() for name, mask in masks.items()}, file)


def is_nni(content: Content) -> bool:
    value = content.value
    return isinstance(value, Mapping) and bool(value) and all(
        isinstance(key, str) and isinstance(entry, Mapping) and bool(entry) and "weight" in entry
        and all(item is None or isinstance(item, Tensor) for item in entry.values())
        for key, entry in value.items())


def read_nni(content: Content) -> Masks:
    value, path = content.value, content.path
    if not isinstance(value, Mapping) or not value:
        raise CheckpointError(f"`{path}` must be a dict from module name to masks; it holds {_kind(value)}. Leave"
                              " `format` (`--from`) out to detect it.")
    found: dict[str, Tensor] = {}
    for module, entries in value.items():
        if not isinstance(module, str) or not isinstance(entries, Mapping):
            raise CheckpointError(f"`{path}` must map module names to dicts of masks; {module!r} has {_kind(entries)}."
                                  " Save it again.")
        for kind, mask in entries.items():
            name = f"{module}.{kind}".removeprefix(".")
            if mask is None:
                continue
            if not isinstance(mask, Tensor) or not isinstance(kind, str) or kind.startswith("_"):  # _input_, _output_
                raise CheckpointError(f"`{path}` must hold a mask or None for each parameter; {name!r} is"
                                      f" {_kind(mask) if not isinstance(mask, Tensor) else 'no parameter'}."
                                      " Remove that key.")
            found[name] = mask
    return plain_masks(content, found)


def write_nni(masks: Masks, file: BinaryIO) -> None:
    nested: dict[str, dict[str, Tensor | None]] = {}
    for name, mask in masks.items():
        module, _, kind = name.rpartition(".")
        nested.setdefault(module, {"weight": None, "bias": None})[kind] = mask.float()
    torch.save(nested, file)


def is_npz(content: Content) -> bool:
    return content.container == "NumPy"


def read_npz(content: Content) -> Masks:
    if content.container != "NumPy":
        raise CheckpointError(f"`{content.path}` must be a NumPy archive; it is a {content.container} file. Leave"
                              " `format` (`--from`) out to detect it.")
    found = {}
    for name, array in content.value.items():
        if array.dtype.kind not in "biuf" or not bool(((array == 0) | (array == 1)).all()):
            raise CheckpointError(f"`{content.path}` must hold sound masks: a mask must hold only 0 and 1; {name!r}"
                                  f" holds other values ({array.dtype}). Save it again.")
        found[name] = torch.from_numpy(array.astype(bool))
    return plain_masks(content, found)


def write_npz(masks: Masks, file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:  # np.savez takes no array called `file`
        for name, mask in masks.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, mask.numpy(), allow_pickle=False)


def plain_masks(content: Content, found: Mapping[str, Tensor]) -> Masks:
    """Return masks by plain name, each checked to hold 0 and 1 alone."""
    masks: dict[str, Tensor] = {}
    for key, tensor in named(content.path, strip_prefixes, dict(found))[0].items():
        name = plain_name(key)
        if name in masks:
            raise CheckpointError(f"`{content.path}` must hold each mask once; {name!r} is there twice. Save it again.")
        masks[name] = checked_mask(content, tensor, key)
    if not masks:
        raise CheckpointError(f"`{content.path}` must hold masks; it has none. Save it again.")
    return Masks(masks)


def _kind(value: object) -> str:
    return "an empty dict" if isinstance(value, Mapping) and not value else type(value).__name__
