"""What stands in the provenance of masks: how they were made, and from which weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor, nn

from jacprobe.masks import Masks
from jacprobe.masks.checking import effective_weight
from jacprobe.modelstate import owned_parameters, preserved
from jacprobe.provenance import environment
from jacprobe.pruning.prunable import describe_choice


def record(model: nn.Module, names: list[str], facts: Mapping[str, object]) -> dict[str, object]:
    """Return `facts` as plain JSON values, with the hash of the weights that were scored and the versions used."""
    plain = {name: _plain(value) for name, value in facts.items()}
    return {**plain, "weights_sha256": weights_digest(model, names), "versions": environment()}


def weights_digest(model: nn.Module, names: list[str]) -> str:
    """Return the sha256 of the named weights as the forward pass sees them, as 64 hexadecimal digits.

    It covers names, dtypes, shapes and bytes in the order of the names; equal weights have it wherever they lie.
    """
    digest = hashlib.sha256()
    owned = owned_parameters(model)
    with preserved(model), torch.no_grad():  # reading a parametrised weight may change the buffers of its module
        for name in names:
            weight = effective_weight(owned[name]).detach().cpu().contiguous()
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _plain(value: object) -> object:
    """Return what JSON can hold: numbers, texts, lists and mappings as they are, else what best names the value."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Masks):
        return f"masks {value.digest}"
    if isinstance(value, (Tensor, nn.Module)):
        return type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return describe_choice(value)
