"""Write jacprobe checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jacprobe import __version__
from jacprobe.atomic import atomic_path
from jacprobe.checkpoint.building import check_fit
from jacprobe.checkpoint.naming import plain_state
from jacprobe.checkpoint.reading import FORMAT, VERSION
from jacprobe.errors import ArgumentError, CheckpointError
from jacprobe.models import build
from jacprobe.modelstate import check_is_module
from jacprobe.provenance import plain_facts


def save_model(
    model: nn.Module,
    path: str | os.PathLike,
    *,
    input_shape: Sequence[int] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a jacprobe checkpoint: the network's name and arguments, its weights, masks, and where they came from.

    The file holds plain data only and is read by ``torch.load(path, weights_only=True)``.

    Parameters
    ----------
    model
        One of jacprobe's networks, dense or pruned. Removed weights are written as zeros.
    path
        Where to write.
    input_shape
        Shape of one input; by default that of the network.
    provenance
        Facts to keep with it: strings to values that JSON can hold. The versions of jacprobe and torch are added.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    DtypeError
        `model` is no module.
    ArgumentError
        `model` is none of jacprobe's networks, or was changed after it was built; or `provenance` is not plain.
    OutputError
        The file exists or cannot be written.
    """
    check_is_module(model)
    if not isinstance(getattr(model, "jacprobe_spec", None), Mapping):
        raise ArgumentError(
            f"`model` must be one of jacprobe's networks; got {type(model).__name__}. Save its state dict with"
            " torch.save and load it with `model`."
        )
    spec = plain_facts("model", model.jacprobe_spec)
    shape = spec["arguments"]["input_shape"] if input_shape is None else [int(side) for side in input_shape]
    versions = {"jacprobe": __version__, "torch": str(torch.__version__)}
    facts = plain_facts("provenance", versions | dict(provenance or {}))
    state, masks, _ = plain_state(model.state_dict())
    own = build(spec["name"], **spec["arguments"]).state_dict()
    try:
        cure = "It was changed after it was built; save its state dict with torch.save."
        check_fit(state, own, f"`model` must still be {spec['name']!r}", cure)
    except CheckpointError as error:
        raise ArgumentError(str(error)) from error
    payload = {
        "format": FORMAT,
        "version": VERSION,
        "model": spec,
        "state_dict": {name: state[name].detach().cpu() for name in own},  # in the order of the dense network
        "masks": dict(masks),
        "input_shape": shape,
        "provenance": facts,
    }
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        torch.save(payload, handle)  # to a handle: the same model gives the same bytes, whatever the file is called
    return Path(path)
