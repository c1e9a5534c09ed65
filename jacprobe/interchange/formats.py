"""The formats by name, in the order in which a file is tried for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from torch import Tensor

from jacprobe.interchange import maskdicts, statedicts
from jacprobe.interchange.canonical import is_canonical, read_canonical, write_canonical
from jacprobe.interchange.checkpoints import is_checkpoint, read_jacprobe
from jacprobe.interchange.contents import Content
from jacprobe.interchange.statedicts import Found, Layout, Pairs
from jacprobe.masks import Masks


@dataclass(frozen=True)
class Format:
    """One format of mask files.

    Parameters
    ----------
    recognises
        Whether a file is one.
    read
        Content -> masks, with the network's weights where the file holds them.
    write
        (masks, file) or, where the format holds weights, (masks, weights, file, as_safetensors=); None where jacprobe
        only reads it.
    holds_weights
        Whether a file has the network's weights too, and a model is needed to write one.
    suffix
        Of a file that can be nothing else.
    """

    recognises: Callable[[Content], bool]
    read: Callable[[Content], Masks | Found]
    write: Callable[..., None] | None = None
    holds_weights: bool = False
    suffix: str | None = None


def _beside(pairs: Pairs, layout: Layout, *, of_modules: bool = False) -> Format:
    def recognises(content: Content) -> bool:
        if content.module is not None:
            return of_modules and bool(Masks.of(content.module))
        return any(True for _ in pairs(content.tensors))

    def write(masks: Masks, weights: Mapping[str, Tensor], file: BinaryIO, *, as_safetensors: bool) -> None:
        statedicts.save_state(statedicts.arranged(masks, weights, layout), file, as_safetensors=as_safetensors)

    return Format(recognises, partial(statedicts.read_pairs, pairs=pairs), write, holds_weights=True)


def _has_zeros(content: Content) -> bool:
    tensors = content.tensors if content.module is None else dict(content.module.named_parameters())
    return any(tensor.ndim >= 2 and bool((tensor == 0).any()) for tensor in tensors.values())


FORMATS: dict[str, Format] = {
    "safetensors": Format(is_canonical, read_canonical, write_canonical, suffix=".safetensors"),
    "npz": Format(maskdicts.is_npz, maskdicts.read_npz, maskdicts.write_npz, suffix=".npz"),
    "checkpoint": Format(is_checkpoint, read_jacprobe, holds_weights=True),
    "nni": Format(maskdicts.is_nni, maskdicts.read_nni, maskdicts.write_nni),
    "torch-prune": _beside(statedicts.torch_prune_pairs, statedicts.torch_prune_layout, of_modules=True),
    "parametrized": _beside(statedicts.parametrized_pairs, statedicts.parametrized_layout),
    "weight-mask": _beside(statedicts.weight_mask_pairs, statedicts.weight_mask_layout),
    "open-lth": Format(maskdicts.is_open_lth, maskdicts.read_open_lth, maskdicts.write_open_lth),
    "dense": Format(_has_zeros, statedicts.read_zeros, statedicts.write_zeros, holds_weights=True),
}
WRITABLE = tuple(name for name, known in FORMATS.items() if known.write is not None)
