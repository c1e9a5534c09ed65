"""Methods by name, and any of them as one function of the masks so far, whose scores are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError, UnknownNameError
from jacprobe.masks import Masks, remove_masks
from jacprobe.modelstate import owned_parameters
from jacprobe.pruning.context import BATCH_NORMS, Scoring
from jacprobe.pruning.scores import SCORES, ScoreFn


class Method(NamedTuple):
    """A published way to prune: a score of `SCORES`, with the schedule that belongs to it."""

    score: str
    schedule: str = "one-shot"
    revival: bool = False


METHODS: dict[str, Method] = {
    "random": Method("random"),
    "magnitude": Method("magnitude"),
    "lamp": Method("lamp"),
    "snip": Method("snip"),
    "iterative-snip": Method("snip", "exponential"),
    "force": Method("snip", "exponential", revival=True),
    "grasp": Method("grasp"),
    "synflow": Method("synflow", "exponential"),
    "fisher": Method("fisher"),
    "ntk-sap": Method("ntk-sap", "exponential"),
    "prospr": Method("prospr"),
    "phew": Method("phew"),
}


def known_method(method: str | ScoreFn) -> Method:
    """Return the method of that name; a callable is scored once.

    Raises
    ------
    UnknownNameError
        There is none.
    """
    if callable(method):
        return Method("")
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS, "Or pass a callable.")
    return METHODS[method]


def scorer(
    model: nn.Module, method: str | ScoreFn, names: list[str], scoring: Scoring, arguments: Mapping[str, object]
) -> Callable[[Masks | None], dict[str, Tensor]]:
    """Return the function that maps the masks so far, or None, to the scores of all `names`, in their order.

    A callable of the user knows no masks: it is given a plain copy of the model with zeros for what they remove.

    Raises
    ------
    ArgumentError, UnknownNameError
        `arguments` are not those of the score, or ``scoring.batch_norm`` is none.
    """
    if scoring.batch_norm not in BATCH_NORMS:
        raise UnknownNameError("batch_norm", scoring.batch_norm, BATCH_NORMS)
    score = method if callable(method) else SCORES[METHODS[method].score]
    _check_arguments(score, (model, names) if callable(method) else (model, names, scoring), method, arguments)

    def scored(masks: Masks | None) -> dict[str, Tensor]:
        if not callable(method):
            found = score(model, names, replace(scoring, masks=masks), **arguments)
        else:
            found = score(model if masks is None else _with_zeros(model, masks), list(names), **arguments)
        _check_scores(found, model, names)
        return {name: found[name] for name in names}

    return scored


def check_rereadable(data: object, num_rounds: int) -> None:
    """Check that `data` can be read once in each round.

    Raises
    ------
    ArgumentError
        It is an iterator, which is empty after the first.
    """
    if num_rounds > 1 and isinstance(data, Iterator):
        raise ArgumentError(f"`data` must be readable once in each of {num_rounds} rounds; got a"
                            f" {type(data).__name__}, which is used up by the first. Pass a list or a data loader.")


def _with_zeros(model: nn.Module, masks: Masks) -> nn.Module:
    return remove_masks(masks.apply(remove_masks(model)))  # the first makes weights plain that torch has pruned


def _check_arguments(score: ScoreFn, positional: tuple, method: str | ScoreFn, arguments: Mapping[str, object]) -> None:
    try:
        signature = inspect.signature(score)
    except ValueError:  # some built-in functions tell none
        return
    try:
        signature.bind(*positional, **arguments)
    except TypeError as error:
        shown = method if isinstance(method, str) else getattr(method, "__qualname__", type(method).__qualname__)
        raise ArgumentError(f"`arguments` must be those of the method {shown!r}; got"
                            f" {', '.join(arguments) or 'none'}: {error}. See its signature.") from error


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
        if score.is_complex():
            raise DtypeError(f"`method` must score {name!r} by real numbers; got {score.dtype}. Take absolute values.")
    extra = [name for name in scores if name not in names]
    if extra:
        raise ArgumentError(f"`method` must score the prunable set alone; got {extra[0]!r} besides. Return scores for"
                            " the names that it is given, or add the name to `prunable`.")
