"""Saliencies: how much each weight matters, higher = keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from jacprobe.errors import ArgumentError, DtypeError, ModelError
from jacprobe.modelstate import Owned, detached_state, owned_parameters, preserved, unwrapped

Batches = Iterable[tuple[Tensor, Tensor]]
ScoreFn = Callable[..., dict[str, Tensor]]


def random(model: nn.Module, names: list[str], *, generator: torch.Generator) -> dict[str, Tensor]:
    """Uniform random scores."""
    owned = owned_parameters(model)
    return {name: torch.rand(owned[name].tensor.shape, generator=generator, dtype=torch.float64) for name in names}


def magnitude(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Absolute values of the weights, as the forward pass sees them."""
    owned = owned_parameters(model)
    with preserved(model), torch.no_grad():  # reading a parametrised weight may change the buffers of its module
        return {name: _effective(owned[name]).abs() for name in names}


def snip(model: nn.Module, names: list[str], *, data: Batches, progress: bool | None = None) -> dict[str, Tensor]:
    """Connection sensitivity: |dL/dc| of multiplicative masks c at 1, which is |w dL/dw| (paper, equations 1 and 3).

    The signed gradient of the cross-entropy is summed over all samples of all batches before the absolute value, so
    that the score does not depend on how samples are batched. The model acts in evaluation mode, as in the paper's
    code: batch norm uses its stored statistics. Scores sum to 1.

    Raises
    ------
    ArgumentError
        `data` holds no batch.
    DtypeError
        `data` does not give (inputs, labels).
    ModelError
        The model does not fit the data, the loss is not finite, or all scores are zero.
    """
    model = unwrapped(model)  # functional_call refuses some wrappers
    owned = owned_parameters(model)
    with preserved(model), torch.inference_mode(False), torch.enable_grad():
        state = detached_state(model)
        weights = [state[owned[name].name].requires_grad_() for name in names]
        total = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
        for inputs, labels in tqdm(_checked(data), desc="snip", unit="batch",
                                   disable=None if progress is None else not progress):
            dtype = weights[0].dtype if inputs.is_floating_point() else inputs.dtype  # token ids stay whole numbers
            inputs = inputs.to(weights[0].device, dtype, copy=True)
            loss = _loss(model, state, inputs, labels.to(weights[0].device, copy=True))
            if not loss.isfinite():
                raise ModelError("`model` must give a finite loss on `data`; got NaN or infinity. Rescale its weights.")
            gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            for sum_, gradient in zip(total, gradients, strict=True):
                sum_ += gradient
    scores = {n: (g * w.detach().double()).abs() for n, g, w in zip(names, total, weights, strict=True)}
    norm = sum(score.sum() for score in scores.values())
    if not norm > 0:
        raise ModelError("`model` must have a loss that depends on its weights; every score is zero."
                         " The network is disconnected or its gradient vanishes.")
    return {name: score / norm for name, score in scores.items()}


SCORES: dict[str, ScoreFn] = {"random": random, "magnitude": magnitude, "snip": snip}


def _effective(owned: Owned) -> Tensor:
    """Return a parameter as the forward pass sees it: masked where a mask is applied."""
    if owned.is_torch_pruned():  # its plain attribute may be stale
        return owned.tensor * getattr(owned.module, f"{owned.attribute}_mask")
    return getattr(owned.module, owned.attribute)


def _loss(model: nn.Module, state: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    try:
        outputs = torch.func.functional_call(model, state, (inputs,))
        return F.cross_entropy(outputs, labels, reduction="sum")
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the user's forward may raise anything; it is chained and named
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(
            f"`model` must classify `data`; inputs of shape {tuple(inputs.shape)} and {labels.dtype} labels of shape"
            f" {tuple(labels.shape)} raised {type(error).__name__}: {reason}. Check shapes and classes."
        ) from error


def _checked(data: object) -> Iterable[tuple[Tensor, Tensor]]:
    if data is None:
        raise ArgumentError("`data` must be given for 'snip'; got None. Pass (inputs, labels) or a data loader.")
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        inputs, labels = data
        if len(inputs) != len(labels):
            raise ArgumentError(f"`data` must pair inputs and labels; got {len(inputs)} and {len(labels)}.")
        data = list(zip(inputs.split(256), labels.split(256), strict=True))
    if not isinstance(data, Iterable):
        raise DtypeError(f"`data` must be (inputs, labels) or an iterable of such batches; got {type(data).__name__}."
                         " Pass a loader of labelled batches.")
    empty = True
    for batch in data:
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(p, Tensor) for p in batch)):
            raise DtypeError(f"`data` must give (inputs, labels) tensors; got {type(batch).__name__}."
                             " Pass a loader of labelled batches.")
        empty = empty and len(batch[0]) == 0
        yield batch
    if empty:
        raise ArgumentError("`data` must hold at least one sample; got none. Check the loader.")
