"""Iterative pruning with rewinding: train, prune, go back to the initial weights, and so on; the upper reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from torch import nn

from jacprobe.errors import DtypeError, ModelError
from jacprobe.masks import Masks, assert_masked
from jacprobe.modelstate import check_model, copy_model, owned_parameters
from jacprobe.progress import progress_bar
from jacprobe.pruning.allocation import Shares, layers_of
from jacprobe.pruning.methods import check_rereadable, known_method
from jacprobe.pruning.prunable import Choice, Predicate, prunable_names
from jacprobe.pruning.prune import carried_on, check_share, kept_counts, prune
from jacprobe.pruning.record import weights_digest
from jacprobe.pruning.schedules import round_counts
from jacprobe.pruning.scores import ScoreFn

if TYPE_CHECKING:
    import pandas as pd

Train = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Rewound:
    """What iterative pruning with rewinding found.

    Attributes
    ----------
    model
        The initial weights under the masks: the winning ticket, not trained.
    masks
        Those of the last round; their provenance has the sha256 of the initial weights as ``rewound_sha256``.
    history
        A row per round with the columns `round` (from 1), `num_kept` and `sparsity` of the model that was trained in
        it, `num_kept_after` pruning it, `seconds` of training, and `value`, NaN without `evaluate`.
    """

    model: nn.Module
    masks: Masks
    history: pd.DataFrame

    def __repr__(self) -> str:
        return f"Rewound({type(self.model).__name__}, {len(self.history)} rounds, {self.masks!r})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>" + self.history.to_html(index=False, border=0, na_rep="")


def prune_iteratively(
    model: nn.Module,
    train: Train,
    method: str | ScoreFn = "magnitude",
    *,
    sparsity: float,
    prunable: str | Choice | Predicate | Iterable[Choice] = "weights",
    protected: Choice | Iterable[Choice] = (),
    num_rounds: int = 10,
    schedule: str = "exponential",
    evaluate: Callable[[nn.Module], float] | None = None,
    progress: bool | None = None,
    **arguments: object,
) -> Rewound:
    """Return masks found by training: each round trains, prunes the trained weights, and rewinds the kept ones.

    Parameters
    ----------
    model
        The weights to which every round goes back: initial ones, or those of an early step of training. It is left
        untouched.
    train
        Takes a model, a copy under the masks so far, trains it as long as it likes, and returns it. It may work in
        place, and its randomness is its own.
    method
        How trained weights are ranked, as in `prune`.
    sparsity
        Removed share of the prunable set at the end, in [0, 1]; exactly ``round(sparsity * num_prunable)`` are removed.
    prunable, protected
        The prunable set, as in `prune`.
    num_rounds, schedule
        How many times to train, and how fast the weights go: "exponential" removes the same share of what is left in
        every round, "linear" the same number, "one-shot" all after one training.
    evaluate
        Maps each trained model to a number for the history, such as its validation accuracy.
    progress
        Whether to show progress on stderr; default only on a terminal.
    arguments
        Further arguments of `prune`, such as `allocation`, `min_kept` or `data`.

    Raises
    ------
    ArgumentError, UnknownNameError, ShapeError, DtypeError, NonFiniteError
        An argument is wrong, or `train` returns no model or one with weights that are not finite, or `evaluate` no
        number.
    ModelError
        `train` returns a model with other parameters, or with removed weights that are not zero.

    References
    ----------
    Frankle and Carbin, "The Lottery Ticket Hypothesis", ICLR 2019; Frankle et al. 2020 for rewinding to an early step.

    Examples
    --------
    >>> net = nn.Linear(4, 2, bias=False)
    >>> result = prune_iteratively(net, lambda ticket: ticket.requires_grad_(False), sparsity=0.75, num_rounds=2)
    >>> result.history["num_kept_after"].tolist(), result.masks.num_kept
    ([4, 2], 2)
    >>> bool((result.model.weight == net.weight * result.masks["weight"]).all())
    True
    """
    import pandas as pd  # which takes longer to import than all else here

    check_model(model)
    if not callable(train):
        raise DtypeError(f"`train` must be a function from model to trained model; got {train!r}. Write one.")
    known_method(method)
    check_share(sparsity)
    names = prunable_names(model, prunable, protected)
    layers, masks, rows = layers_of(model, names), None, []
    num, carried = sum(layer.size for layer in layers), carried_on(model, layers)
    before, num_kept = kept_counts(layers, carried, sparsity)
    counts = round_counts(schedule, before, num_kept, num_rounds)
    shares = Shares(arguments.pop("allocation", "global"), layers, num_kept)
    check_rereadable(arguments.get("data"), len(counts))
    for num_kept in progress_bar(counts, desc="rewinding", unit="round", progress=progress):
        start = copy_model(model) if masks is None else masks.apply(model)
        begin = time.perf_counter()
        trained = _trained(train, start, model, masks)
        seconds = time.perf_counter() - begin
        value = float("nan") if evaluate is None else _number(evaluate(trained))
        masks = prune(trained if masks is None else masks.apply(trained), method, sparsity=(num - num_kept) / num,
                      prunable=names, progress=False, allocation=shares.of(num_kept, masks or carried), **arguments)
        rows.append({"round": len(rows) + 1, "num_kept": before, "sparsity": 1 - before / num,
                     "num_kept_after": num_kept, "seconds": seconds, "value": value})
        before = num_kept
    origin = {"rewound_sha256": weights_digest(model, names), "rewinding_rounds": len(counts)}
    masks = Masks(masks, {**masks.provenance, **origin})
    return Rewound(masks.apply(model), masks, pd.DataFrame(rows))


def _number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DtypeError(f"`evaluate` must return a number; got {value!r}. Return the accuracy, say.") from error


def _trained(train: Train, start: nn.Module, model: nn.Module, masks: Masks | None) -> nn.Module:
    """Return what `train` makes of `start`, checked."""
    trained = train(start)
    if not isinstance(trained, nn.Module):
        raise DtypeError(f"`train` must return the trained model; got {type(trained).__name__}. Return it.")
    check_model(trained)
    expected, found = ({name: tuple(owned.tensor.shape) for name, owned in owned_parameters(net).items()}
                       for net in (model, trained))
    if expected != found:
        name = next(name for name in [*expected, *found] if expected.get(name) != found.get(name))
        raise ModelError(f"`train` must return a model with the parameters of the one it is given; {name!r} has shape"
                         f" {found.get(name)} in place of {expected.get(name)}. Train the model that it gets.")
    if masks is not None:
        try:
            assert_masked(trained, masks)
        except ModelError as error:
            raise ModelError("`train` must leave removed weights at zero; it returns others. Train the model that it"
                             " gets, whose masks hold them.") from error
    return trained
