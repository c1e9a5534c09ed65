"""Saliencies: how much each weight matters, higher = keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from jacprobe.errors import ArgumentError, DtypeError, ModelError
from jacprobe.modelstate import detached_state, plain_name, preserved

Batches = Iterable[tuple[Tensor, Tensor]]
ScoreFn = Callable[..., dict[str, Tensor]]


def random(model: nn.Module, names: list[str], *, generator: torch.Generator) -> dict[str, Tensor]:
    """Uniform random scores."""
    shapes = {name: tensor.shape for name, tensor in parameters(model).items()}
    return {name: torch.rand(shapes[name], generator=generator, dtype=torch.float64) for name in names}


def magnitude(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Absolute values of the weights."""
    tensors = parameters(model)
    return {name: tensors[name].abs() for name in names}


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
        All scores are zero, or the loss is not finite.
    """
    state = detached_state(model)
    of_plain = {plain_name(name): name for name in state}
    weights = [state[of_plain[name]].requires_grad_() for name in names]
    total = [torch.zeros_like(weight, dtype=torch.float64, requires_grad=False) for weight in weights]
    with preserved(model), torch.inference_mode(False), torch.enable_grad():
        for inputs, labels in tqdm(_checked(data), desc="snip", unit="batch",
                                   disable=None if progress is None else not progress):
            device, dtype = weights[0].device, weights[0].dtype
            outputs = torch.func.functional_call(model, state, (inputs.to(device, dtype),))
            loss = F.cross_entropy(outputs, labels.to(device), reduction="sum")
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


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return each parameter once by its plain name, as the forward pass sees it: masked where a mask is applied."""
    seen: set[int] = set()
    found = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[plain_name(name)] = _effective(model, name, tensor).detach()
    return found


def _effective(model: nn.Module, name: str, tensor: Tensor) -> Tensor:
    prefix, _, attribute = plain_name(name).rpartition(".")
    if name.endswith("_orig"):  # the plain attribute of torch.nn.utils.prune may be stale
        return tensor * getattr(model.get_submodule(prefix), f"{attribute}_mask")
    return tensor if name == plain_name(name) else getattr(model.get_submodule(prefix), attribute)


def _checked(data: object) -> Iterable[tuple[Tensor, Tensor]]:
    if data is None:
        raise ArgumentError("`data` must be given for 'snip'; got None. Pass (inputs, labels) or a data loader.")
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        inputs, labels = data
        if len(inputs) != len(labels):
            raise ArgumentError(f"`data` must pair inputs and labels; got {len(inputs)} and {len(labels)}.")
        data = list(zip(inputs.split(256), labels.split(256), strict=True))
    empty = True
    for batch in data:
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(p, Tensor) for p in batch)):
            raise DtypeError(f"`data` must give (inputs, labels) tensors; got {type(batch).__name__}."
                             " Pass a loader of labelled batches.")
        empty = empty and len(batch[0]) == 0
        yield batch
    if empty:
        raise ArgumentError("`data` must hold at least one sample; got none. Check the loader.")
