"""From scores to masks with an exact count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.modelstate import AFFINE, check_model, owned_parameters, plain_name, unwrapped
from jacprobe.pruning.scores import SCORES, ScoreFn
from jacprobe.randomness import make_generator

PRUNABLE = ("weights", "paper")


def prune(
    model: nn.Module,
    method: str | ScoreFn,
    *,
    sparsity: float,
    data: object = None,
    prunable: str | Iterable[str] = "weights",
    seed: int | torch.Generator = 0,
    progress: bool | None = None,
) -> Masks:
    """Return masks that remove exactly ``round(sparsity * num_prunable)`` weights, those of the lowest scores.

    Parameters
    ----------
    model
        Any module; it is left untouched. Apply the masks with ``masks.apply(model)``. Weights that it has pruned
        already are the first to be removed.
    method
        "random", "magnitude", "snip" (connection sensitivity, needs `data`), or a callable ``(model, names)`` that
        returns a score tensor per name, higher = keep.
    sparsity
        Removed share of the prunable set, in [0, 1].
    data
        (inputs, labels), or an iterable of such batches.
    prunable
        "weights": those of all linear and convolutional layers; "paper": their biases too, as published; or names.
    seed
        Of "random".
    progress
        Whether to show progress on stderr; default only on a terminal.

    Raises
    ------
    ArgumentError, UnknownNameError, ShapeError, DtypeError, NonFiniteError
        An argument is wrong, or scores are not finite.
    ModelError
        The scores cannot be computed.

    References
    ----------
    Lee et al. 2020, equation 1; global threshold, ties broken by index (the lower index is kept).

    Examples
    --------
    >>> masks = prune(nn.Linear(10, 10), "magnitude", sparsity=0.25)
    >>> masks.num_prunable, masks.num_kept
    (100, 75)
    """
    check_model(model)
    if not isinstance(sparsity, Real) or not 0 <= sparsity <= 1:
        raise ArgumentError(f"`sparsity` must lie in [0, 1]; got {sparsity!r}. It is the removed share, 0.9 for 90 %.")
    if not callable(method) and method not in SCORES:
        raise UnknownNameError("method", method, SCORES, "Or pass a callable.")
    names = prunable_names(model, prunable)
    options: dict[str, dict] = {
        "random": {"generator": make_generator(seed)},
        "magnitude": {},
        "snip": {"data": data, "progress": progress},
    }
    scores = SCORES[method](model, names, **options[method]) if isinstance(method, str) else method(model, names)
    _check_scores(scores, model, names)
    carried = Masks.of(model)
    lowered = {name: torch.where(carried[name], scores[name].detach().cpu(), -math.inf)
               for name in names if name in carried}
    return select({**scores, **lowered}, names, sparsity=float(sparsity))


def _check_scores(scores: object, model: nn.Module, names: list[str]) -> None:
    if not isinstance(scores, Mapping):
        raise DtypeError(f"`method` must return a dict of scores by name; got {type(scores).__name__}."
                         " Map each name to a tensor.")
    owned = owned_parameters(model)
    for name in names:
        shape, score = tuple(owned[name].tensor.shape), scores.get(name)
        if not isinstance(score, Tensor) or tuple(score.shape) != shape:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ShapeError(f"`method` must score {name!r} by a tensor of shape {shape}; got {got}."
                             " Return one tensor per name.")


def select(scores: dict[str, Tensor], names: list[str], *, sparsity: float) -> Masks:
    """Keep the highest scores over all `names`; among equal scores at the threshold the lower index is kept.

    Raises
    ------
    NonFiniteError
        A score is NaN.
    """
    flat = torch.cat([scores[name].detach().flatten().cpu() for name in names])
    flat = flat if flat.is_floating_point() else flat.long()
    if flat.isnan().any():
        bad = next(name for name in names if scores[name].isnan().any())
        raise NonFiniteError(f"`scores` must not be NaN; those of {bad!r} are. Check the data and the weights.")
    num_removed = round(sparsity * flat.numel())
    keep = torch.ones(flat.numel(), dtype=torch.bool)
    if num_removed:
        threshold = flat.kthvalue(num_removed).values
        keep[flat < threshold] = False
        ties = (flat == threshold).nonzero().flatten()
        num_ties_removed = num_removed - int((~keep).sum())
        keep[ties[len(ties) - num_ties_removed :]] = False
    parts = keep.split([scores[name].numel() for name in names])
    return Masks({name: part.reshape(scores[name].shape) for name, part in zip(names, parts, strict=True)})


def prunable_names(model: nn.Module, prunable: str | Iterable[str]) -> list[str]:
    """Return the parameter names of the prunable set, tied parameters once.

    Raises
    ------
    UnknownNameError
        A name is no parameter of `model`, or no such set.
    ArgumentError
        The set is empty.
    ModelError
        The weight of a layer is computed from other parameters, as by a weight norm.
    """
    known = owned_parameters(model)
    if isinstance(prunable, str) or not isinstance(prunable, Iterable):
        if prunable not in PRUNABLE:
            raise UnknownNameError("prunable", prunable, PRUNABLE, "Or pass a list of parameter names.")
        kinds = ("weight", "bias") if prunable == "paper" else ("weight",)
        layers = {name: module for name, module in unwrapped(model).named_modules() if isinstance(module, AFFINE)}
        names = [plain_name(f"{name}.{kind}".lstrip(".")) for name, module in layers.items() for kind in kinds
                 if module._parameters.get(kind, kind) is not None]  # a layer without bias has None there
        for name in names:
            if name not in known:
                raise ModelError(f"`model` must own the weights to prune; {name!r} is computed from other parameters."
                                 " Remove that, or pass parameter names.")
    else:
        names = list(prunable)
        for name in names:
            if name not in known:
                raise UnknownNameError("prunable", name, known)
    if not names:
        raise ArgumentError("`prunable` must name at least one parameter; the model has no linear or convolutional"
                            " layer. Pass parameter names.")
    first: dict[int, str] = {}
    for name, owned in known.items():
        first.setdefault(id(owned.tensor), name)
    return list(dict.fromkeys(first[id(known[name].tensor)] for name in names))
