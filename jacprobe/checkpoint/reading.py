"""Read a model file of any kind; run nothing from it unless told to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jacprobe.checkpoint.contents import Checkpoint
from jacprobe.checkpoint.loading import load_object, load_safetensors, looks_like_safetensors, named, read_file, whole
from jacprobe.checkpoint.naming import binary_mask, is_state_dict, plain_module, plain_state, unwrap
from jacprobe.checkpoint.opcodes import list_names
from jacprobe.errors import CheckpointError
from jacprobe.masks import Masks

FORMAT = "jacprobe"
VERSION = 1


def read_checkpoint(path: str | os.PathLike, *, trust_file: bool = False) -> Checkpoint:
    """Read a model file: a jacprobe checkpoint, a state dict, safetensors, or a module made of torch.nn classes.

    Nothing in the file is run: names in its pickles are read before torch sees it, and a file that wants any other
    than those of tensors and torch.nn modules is refused.

    Parameters
    ----------
    path
        The file. It is read as a whole into memory.
    trust_file
        Whether a pickle that wants other classes or functions may import and run them, as ``pickle.load`` does. There
        is no other way to run a file's code. A file that needs none is read in the safe way all the same.

    Raises
    ------
    UntrustedFileError
        The file is a program or wants other names; the message lists them.
    CheckpointError
        The file is missing, empty, damaged, or holds no model.
    """
    path = Path(path)
    data, facts = read_file(path)
    if looks_like_safetensors(data, path):
        state, masks, notes = named(path, plain_state, load_safetensors(data, path)[0])
        return Checkpoint(format="safetensors", state_dict=state, masks=masks, notes=notes, **facts)
    with whole(path):
        value, notes = load_object(data, path, trust_file=trust_file)
        return _checkpoint(value, notes, facts)


def _checkpoint(value: object, notes: tuple[str, ...], facts: dict[str, Any]) -> Checkpoint:
    """Sort out what the unpickled object is."""
    path = facts["path"]
    if isinstance(value, Mapping) and value.get("format") == FORMAT:
        return Checkpoint(format="jacprobe checkpoint", notes=notes, **jacprobe_fields(value, path), **facts)
    value, more = unwrap(value)
    notes += more
    if isinstance(value, torch.jit.ScriptModule):
        raise CheckpointError(f"`{path}` must hold a Python module; TorchScript cannot be hooked. Save a state dict.")
    if isinstance(value, nn.Module):
        masks = named(path, plain_module, value)
        value.state_dict()  # a hand-made module may lack parts or contain itself
        return Checkpoint(format="pickled module", module=value, masks=masks, notes=notes, **facts)
    if is_state_dict(value):
        state, masks, more = named(path, plain_state, value)
        return Checkpoint(format="state dict", state_dict=state, masks=masks, notes=notes + more, **facts)
    keys = f" with the keys {list_names(map(str, value))}" if isinstance(value, Mapping) and value else ""
    what = f"{type(value).__name__}{keys}"
    raise CheckpointError(f"`{path}` must hold a module or a state dict; got {what}. Save model.state_dict().")


def jacprobe_fields(payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check the fields of a jacprobe checkpoint and return them."""
    if payload.get("version") != VERSION:
        raise CheckpointError(
            f"`{path}` must be a jacprobe checkpoint of version {VERSION}; got {payload.get('version')!r}."
            " Update jacprobe."
        )
    spec, state, masks, shape = (payload.get(key) for key in ("model", "state_dict", "masks", "input_shape"))
    sound = (
        isinstance(spec, dict) and isinstance(spec.get("name"), str) and isinstance(spec.get("arguments"), dict)
        and is_state_dict(state) and all(isinstance(item, Tensor) for item in state.values())
        and isinstance(masks, dict) and all(name in state and isinstance(masks[name], Tensor) for name in masks)
        and isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
        and isinstance(payload.get("provenance"), dict)
    )
    if not sound:
        raise CheckpointError(f"`{path}` must have the fields of a jacprobe checkpoint; some are wrong. Save it again.")
    masks = {name: named(path, binary_mask, mask, name, state[name]) for name, mask in masks.items()}
    return {
        "spec": spec,
        "state_dict": {n: torch.where(masks[n], t, 0) if n in masks else t for n, t in state.items()},
        "masks": Masks(masks),
        "input_shape": tuple(shape),
        "provenance": payload["provenance"],
    }
