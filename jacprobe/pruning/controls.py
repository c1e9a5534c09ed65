"""The nets that a claim about a mask must be compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import ArgumentError, DtypeError, ModelError, UnknownNameError
from jacprobe.masks import KeepMask, Masks
from jacprobe.masks.application import drop_torch_pruning
from jacprobe.modelstate import Owned, check_model, copy_model, owned_parameters
from jacprobe.pruning.arguments import check_masks, check_scores
from jacprobe.randomness import make_generator

CONTROLS = ("original", "shuffled", "random", "inverted", "reinitialised", "rescaled")
Initialise = Callable[[nn.Module, torch.Generator], nn.Module]


@dataclass(frozen=True, eq=False)
class Control:
    """A pruned `model`, new and of its own, and the `masks` that it carries."""

    model: nn.Module
    masks: Masks

    def __repr__(self) -> str:
        return f"Control({type(self.model).__name__}, {self.masks!r})"


def controls(
    model: nn.Module,
    masks: Masks,
    *,
    seed: int | torch.Generator = 0,
    scores: Mapping[str, Tensor] | None = None,
    initialise: Initialise | None = None,
    only: Iterable[str] = CONTROLS,
) -> dict[str, Control]:
    """Return the pruned model and its controls: what is left of a result when one property of the mask is taken away.

    Each of them keeps exactly as many weights in each parameter as `masks` do.

    - "original": `masks` on the weights of `model`.
    - "shuffled": each mask permuted within its parameter, and different from it; the weights stay where they are.
    - "random": masks drawn anew with the counts of `masks`. In distribution the same as "shuffled": how far the two
      differ is the noise of one draw.
    - "inverted": with `scores`, the lowest scores of each parameter; without, weights that `masks` remove, drawn at
      random, and where these are too few all of them, filled up with kept ones at random.
    - "reinitialised": `masks` on fresh weights, by default those of each parameter of `masks` permuted, removed ones
      included, so that each layer keeps its own distribution.
    - "rescaled": `masks`, and the kept weights of each layer times the factor that gives them the Frobenius norm that
      all weights of the layer had. Biases, and layers without a kept weight other than 0, stay as they are.

    Parameters
    ----------
    model
        The dense model, or one that carries masks (of ``Masks.apply`` or ``torch.nn.utils.prune``) and hides the
        weights they remove. It is left untouched.
    masks
        Kept weights.
    seed
        Of all draws; the draws of one control do not depend on which others are asked for.
    scores
        Tensors by parameter name, higher = keep, for "inverted".
    initialise
        Callable ``(model, generator)`` that returns a new model with fresh weights, such as ``lambda net, generator:
        jp.initialize(net, "orthogonal", seed=generator)``, for "reinitialised".
    only
        Names of the controls to make.

    Returns
    -------
    dict
        ``Control`` (`.model` and `.masks`) by name.

    Raises
    ------
    DtypeError, UnknownNameError, ShapeError, ArgumentError, NonFiniteError
        An argument is of the wrong type, name or shape; masks keep all or none of each parameter, so that no control
        can differ; scores are NaN.
    ModelError
        The removed weights are not in `model` any more.

    References
    ----------
    Frankle et al., Pruning Neural Networks at Initialization: Why Are We Missing the Mark?, ICLR 2021; Su et al.,
    Sanity-Checking Pruning Methods, NeurIPS 2020.

    Examples
    --------
    >>> net = nn.Linear(10, 10)
    >>> masks = Masks({"weight": torch.arange(100).reshape(10, 10) < 25})
    >>> panel = controls(net, masks)
    >>> [control.masks.num_kept for control in panel.values()]
    [25, 25, 25, 25, 25, 25]
    >>> int((panel["inverted"].masks["weight"] & masks["weight"]).sum())
    0
    """
    check_model(model)
    check_masks(masks, model)
    names = [only] if isinstance(only, str) else list(only)
    for name in names:
        if name not in CONTROLS:
            raise UnknownNameError("only", name, CONTROLS)
    _check_differ(masks)
    check_scores(scores, masks)
    generator = make_generator(seed, purpose="controls")
    seeds = {name: int(torch.randint(2**62, (), generator=generator)) for name in CONTROLS}
    dense = _opened(model, masks)
    return {name: _control(name, dense, masks, torch.Generator().manual_seed(seeds[name]), scores, initialise)
            for name in names}


def _control(
    name: str, dense: nn.Module, masks: Masks, generator: torch.Generator, scores: Mapping[str, Tensor] | None,
    initialise: Initialise | None,
) -> Control:
    if name == "reinitialised":
        fresh = _permuted(dense, masks, generator) if initialise is None else _initialised(dense, initialise, generator)
        return Control(masks.apply(fresh), masks)
    if name == "rescaled":
        return Control(masks.apply(_rescaled(dense, masks)), masks)
    if name == "original":
        return Control(masks.apply(dense), masks)
    draw = {
        "shuffled": lambda key, mask: _shuffled(mask, generator),
        "random": lambda key, mask: _highest(torch.rand(mask.shape, generator=generator, dtype=torch.float64), mask),
        "inverted": lambda key, mask: _inverted(mask, generator) if scores is None else _highest(-scores[key], mask),
    }[name]
    first = _first_names(dense, masks)
    found = {key: draw(key, masks[key]) for key in dict.fromkeys(first.values())}
    drawn = Masks({key: found[first[key]] for key in masks}, {**masks.provenance, "control": name})
    return Control(drawn.apply(dense), drawn)


def _first_names(model: nn.Module, masks: Masks) -> dict[str, str]:
    """Return for each name in `masks` the first of those that are tied to it and have an equal mask."""
    owned = owned_parameters(model)
    return {name: next(other for other in masks if owned[other].tensor is owned[name].tensor
                       and torch.equal(masks[other], masks[name])) for name in masks}


def _shuffled(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Permute a mask until it differs, which it can unless all of it is equal."""
    flat, shuffled = mask.flatten(), mask.flatten()
    while torch.equal(flat, shuffled) and flat.any() and not flat.all():
        shuffled = flat[torch.randperm(len(flat), generator=generator)]
    return shuffled.reshape(mask.shape)


def _highest(scores: Tensor, mask: Tensor) -> Tensor:
    """Keep as many of the highest scores as `mask` keeps; of equal ones those of the lower index."""
    order = scores.detach().cpu().flatten().argsort(descending=True, stable=True)
    kept = torch.zeros(mask.numel(), dtype=torch.bool)
    kept[order[: int(mask.sum())]] = True
    return kept.reshape(mask.shape)


def _inverted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Keep removed weights, at random, before kept ones."""
    return _highest((~mask).double() + torch.rand(mask.shape, generator=generator, dtype=torch.float64), mask)


def _permuted(dense: nn.Module, masks: Masks, generator: torch.Generator) -> nn.Module:
    fresh = copy_model(dense)
    owned = owned_parameters(fresh)
    with torch.no_grad():
        for name in masks:
            tensor = owned[name].tensor
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
    return fresh


def _initialised(dense: nn.Module, initialise: Initialise, generator: torch.Generator) -> nn.Module:
    fresh = initialise(copy_model(dense), generator)
    if not isinstance(fresh, nn.Module):
        raise DtypeError(f"`initialise` must return a torch.nn.Module; got {type(fresh).__name__}."
                         " Return the model with its fresh weights.")
    return fresh


def _rescaled(dense: nn.Module, masks: Masks) -> nn.Module:
    scaled = copy_model(dense)
    owned = owned_parameters(scaled)
    with torch.no_grad():
        for name in dict.fromkeys(_first_names(dense, masks).values()):
            tensor, mask = owned[name].tensor, masks[name]
            norm = torch.where(mask.to(tensor.device), tensor, 0).double().norm()
            if tensor.ndim >= 2 and norm > 0:
                tensor.mul_((tensor.double().norm() / norm).to(tensor.dtype))
    return scaled


def _opened(model: nn.Module, masks: Masks) -> nn.Module:
    """Return a copy whose parameters named by `masks` carry no mask, with the weights that it hid."""
    dense = copy_model(model)
    for name in masks:
        for owned in owned_parameters(dense).values():
            if owned.tensor is owned_parameters(dense)[name].tensor:
                _open(owned)
    owned = owned_parameters(dense)
    for name, mask in masks.items():
        removed = owned[name].tensor.detach().cpu()[~mask]
        if mask.ndim >= 2 and len(removed) and not removed.any():
            raise ModelError(f"`model` must still hold the weights that `masks` remove; those of {name!r} are all zero."
                             " Pass the dense model.")
    return dense


def _open(owned: Owned) -> None:
    module, attribute = owned.module, owned.attribute
    if owned.is_torch_pruned():
        drop_torch_pruning(owned, owned.tensor)
    if not parametrize.is_parametrized(module, attribute):
        return
    entries = list(module.parametrizations[attribute])
    if all(isinstance(entry, KeepMask) for entry in entries):
        parametrize.remove_parametrizations(module, attribute, leave_parametrized=False)
        return
    for entry in entries:
        if isinstance(entry, KeepMask):
            entry.mask.fill_(True)


def _check_differ(masks: Masks) -> None:
    if not any(mask.any() and not mask.all() for mask in masks.values()):
        raise ArgumentError("`masks` must keep some weights of a layer and remove others, or no control can differ; got"
                            f" {masks}. Pass masks that prune.")
