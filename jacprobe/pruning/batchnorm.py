"""What batch norm does while weights are scored, as a state of one's own: stored statistics never change."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from jacprobe.errors import ModelError, UnknownNameError
from jacprobe.modelstate import owned_parameters
from jacprobe.pruning.context import BATCH_NORMS

_INITIAL = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def set_batch_norm(model: nn.Module, state: dict[str, Tensor], mode: str, scored: set[str]) -> None:
    """Make every batch norm act as `mode` says, in `state` and in the flags of its module.

    Call it inside ``preserved(model)``, in evaluation mode, which gives the flags back.

    Parameters
    ----------
    state
        The copy that the model runs on; changed in place.
    mode
        "paper": inference mode at initial statistics (mean 0, variance 1, weight 1, bias 0), so that batch norm is the
        identity up to ``1 / sqrt(1 + eps)``; "eval": stored statistics; "train": those of each batch.
    scored
        Names in `state` that are scored: these keep their values.

    Raises
    ------
    UnknownNameError
        No such mode.
    ModelError
        "eval", where a batch norm has no stored statistics.

    References
    ----------
    Lee et al. 2020: their code scores in inference mode before any training.
    """
    if mode not in BATCH_NORMS:
        raise UnknownNameError("batch_norm", mode, BATCH_NORMS)
    names = {plain: owned.name for plain, owned in owned_parameters(model).items()}
    for path, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        if mode == "train":
            module.training = True
        elif mode == "eval" and module.running_mean is None:
            raise ModelError(f"`model` must have stored statistics for batch_norm='eval'; {path!r} has none. Choose"
                             " 'paper' or 'train'.")
        elif mode == "paper":
            _initialise(module, path, state, names, scored)


def _initialise(module: _BatchNorm, path: str, state: dict[str, Tensor], names: dict[str, str],
                scored: set[str]) -> None:
    for attribute, value in _INITIAL.items():
        plain = f"{path}.{attribute}".lstrip(".")
        name = names.get(plain, plain)
        if name in state and name not in scored:
            state[name] = torch.full_like(state[name], value)
        elif attribute.startswith("running") and module._buffers.get(attribute) is None:
            like = next(iter(state.values()))  # a norm without statistics would take those of the batch
            module._buffers[attribute] = like.new_full((module.num_features,), value)
