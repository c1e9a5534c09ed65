"""Model and method in, masks with an exact count out: score, allocation, selection and schedule put together."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.masks import Masks
from jacprobe.modelstate import check_model
from jacprobe.pruning.allocation import Allocation, Allocator, Layer, layers_of
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.methods import check_rereadable, known_method, scorer
from jacprobe.pruning.prunable import Choice, Predicate, prunable_names
from jacprobe.pruning.record import record
from jacprobe.pruning.schedules import falling, round_counts, run_rounds
from jacprobe.pruning.scores import ScoreFn
from jacprobe.randomness import make_generator


def prune(
    model: nn.Module,
    method: str | ScoreFn,
    *,
    sparsity: float,
    data: object = None,
    prunable: str | Choice | Predicate | Iterable[Choice] = "weights",
    protected: Choice | Iterable[Choice] = (),
    allocation: Allocation = "global",
    min_kept: int = 0,
    allow_empty: bool = True,
    schedule: str | None = None,
    num_rounds: int = 100,
    revival: bool = False,
    batch_norm: str = "paper",
    seed: int | torch.Generator = 0,
    progress: bool | None = None,
    **arguments: object,
) -> Masks:
    """Return masks that remove exactly ``round(sparsity * num_prunable)`` weights, those of the lowest scores.

    Parameters
    ----------
    model
        Any module; it is left untouched. Apply the masks with ``masks.apply(model)``. Weights that its own masks have
        removed already stay removed, and count.
    method
        "random", "magnitude", "lamp", "snip" (connection sensitivity), "iterative-snip", "force", "grasp", "synflow",
        "fisher", "ntk-sap", "prospr", "phew"; or a callable ``(model, names, **arguments)`` that returns a score
        tensor per name, higher = keep. In the rounds after the first it gets a plain copy with zeros for what is
        removed.
    sparsity
        Removed share of the prunable set, in [0, 1].
    data
        (inputs, labels), or an iterable of such batches, for the methods that need it.
    prunable
        "weights": those of all linear and convolutional layers; "paper": their biases too, as published; or names,
        patterns, module types, or a predicate ``(name, module, parameter) -> bool``.
    protected
        Names of parameters or modules, patterns and types that are never pruned; they are not in the prunable set.
    allocation
        How many weights each parameter keeps: "global" (one threshold over all), "uniform", "erk", "uniform-plus",
        "igq", "smart-ratio"; masks, whose layers' counts are taken; densities by parameter name; or a callable
        ``(shapes, density)`` that returns such densities.
    min_kept
        Number of weights that each layer keeps at least, where it has as many; biases are exempt.
    allow_empty
        Whether a layer may lose all its weights; biases are exempt.
    schedule
        "one-shot", "exponential" or "linear"; None for that of the method, "one-shot" for a callable.
    num_rounds
        Rounds of scoring and removing, where the schedule has several.
    revival
        Whether weights that one round removed may come back in another, as always in "force".
    batch_norm
        While scoring, "paper": inference mode at initial statistics; "eval": stored statistics; "train": batch
        statistics.
    seed
        Of all randomness.
    progress
        Whether to show progress on stderr; default only on a terminal.
    arguments
        Those of the score, such as ``loss="uniform"`` of "snip".

    Returns
    -------
    Masks
        Their `provenance` tells all of the above and the sha256 of the weights that were scored.

    Raises
    ------
    ArgumentError, UnknownNameError, ShapeError, DtypeError, NonFiniteError
        An argument is wrong, the counts cannot be met, or scores are NaN.
    ModelError
        The scores cannot be computed.

    References
    ----------
    Lee et al. 2020, equation 1; global threshold, ties broken by index (the lower index is kept). De Jorge et al. 2021
    (iterative SNIP, FORCE); Tanaka et al. 2020 (SynFlow in 100 rounds).

    Examples
    --------
    >>> masks = prune(nn.Linear(10, 10), "magnitude", sparsity=0.25)
    >>> masks.num_prunable, masks.num_kept
    (100, 75)
    >>> net = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5))
    >>> prune(net, "random", sparsity=0.9, allocation="erk").layer_sparsity()
    {'0.weight': 0.92, '1.weight': 0.86}
    """
    check_model(model)
    known = known_method(method)
    check_share(sparsity)
    prunable, protected = _listed(prunable), _listed(protected)  # iterators are read once
    layers = layers_of(model, prunable_names(model, prunable, protected))
    floors = _floors(layers, min_kept)
    schedule, revival = schedule or known.schedule, revival or known.revival
    if revival and schedule == "one-shot":
        raise ArgumentError("`revival` must go with a schedule of several rounds; got 'one-shot'."
                            " Pass schedule='exponential'.")
    carried = carried_on(model, layers)
    num_left, num_kept = kept_counts(layers, carried, sparsity)
    planned = round_counts(schedule, num_left, num_kept, num_rounds)
    counts = planned if revival and num_kept else falling(num_left, planned)
    check_rereadable(data, len(counts))
    scoring = Scoring(data=data, generator=make_generator(seed, purpose="scores"), batch_norm=batch_norm,
                      progress=progress if len(counts) == 1 else False)  # rounds show their own
    score = scorer(model, method, [layer.name for layer in layers], scoring, arguments)
    allocator = Allocator(allocation, layers, num_kept=num_kept, floors=floors)
    masks = run_rounds(score, counts, allocator, eligible=carried, revival=revival, progress=progress)
    if not allow_empty:
        _check_layers(masks, layers)
    facts = {
        "method": method, "arguments": arguments, "sparsity": float(sparsity), "prunable": prunable,
        "protected": protected, "allocation": allocation, "min_kept": min_kept, "schedule": schedule,
        "num_rounds": len(planned), "revival": revival, "batch_norm": batch_norm,
        "seed": None if isinstance(seed, torch.Generator) else int(seed),
    }
    return Masks(masks, record(model, list(masks), facts))


def scores(
    model: nn.Module,
    method: str | ScoreFn,
    *,
    data: object = None,
    prunable: str | Choice | Predicate | Iterable[Choice] = "weights",
    protected: Choice | Iterable[Choice] = (),
    batch_norm: str = "paper",
    seed: int | torch.Generator = 0,
    progress: bool | None = None,
    **arguments: object,
) -> dict[str, Tensor]:
    """Return the scores by which a method ranks the weights, higher = keep, by parameter name.

    All arguments are those of `prune`. The scores are those of the model as it is, with its own masks: what the first
    round of a schedule sees.

    Returns
    -------
    dict of str to Tensor
        Each in the shape of its parameter, on the CPU, and not normalised beyond what the method does.

    Raises
    ------
    ArgumentError, UnknownNameError, ShapeError, DtypeError, ModelError
        As `prune`.

    Examples
    --------
    >>> net = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(net.weight, -3.0)
    >>> scores(net, "magnitude")["weight"].tolist()
    [[3.0, 3.0]]
    """
    check_model(model)
    known_method(method)
    names = prunable_names(model, prunable, protected)
    scoring = Scoring(data=data, generator=make_generator(seed, purpose="scores"), batch_norm=batch_norm,
                      progress=progress)
    return scorer(model, method, names, scoring, arguments)(None)


def check_share(sparsity: object) -> None:
    """Check that `sparsity` is a number in [0, 1].

    Raises
    ------
    ArgumentError
        It is none.
    """
    if not isinstance(sparsity, Real) or not 0 <= sparsity <= 1:
        raise ArgumentError(f"`sparsity` must lie in [0, 1]; got {sparsity!r}. It is the removed share, 0.9 for 90 %.")


def _listed(chosen: object) -> object:
    return chosen if isinstance(chosen, (str, type)) or not isinstance(chosen, Iterable) else list(chosen)


def _floors(layers: list[Layer], min_kept: object) -> dict[str, int]:
    """Return how many weights each parameter keeps at least; biases are no layers."""
    if isinstance(min_kept, bool) or not isinstance(min_kept, int) or min_kept < 0:
        raise ArgumentError(f"`min_kept` must be a whole number from 0 on; got {min_kept!r}. 1 lets no layer vanish.")
    return {layer.name: min_kept for layer in layers if min_kept and not layer.is_bias}


def carried_on(model: nn.Module, layers: list[Layer]) -> dict[str, Tensor]:
    """Return the masks that the model has already on its prunable set."""
    carried = Masks.of(model)
    return {layer.name: carried[layer.name] for layer in layers if layer.name in carried}


def kept_counts(layers: list[Layer], carried: dict[str, Tensor], sparsity: float) -> tuple[int, int]:
    """Return how many weights of the prunable set are kept before pruning, and after.

    Raises
    ------
    ArgumentError
        The model's own masks have removed more than `sparsity`.
    """
    num = sum(layer.size for layer in layers)
    num_left = num - sum(int((~mask).count_nonzero()) for mask in carried.values())
    num_kept = num - round(sparsity * num)
    if num_kept > num_left:
        raise ArgumentError(f"`sparsity` must be at least {(num - num_left) / num}, which the model's own masks remove;"
                            f" got {sparsity}. Raise it, or start from jacprobe.remove_masks(model).")
    return num_left, num_kept


def _check_layers(masks: Masks, layers: list[Layer]) -> None:
    empty = [layer.name for layer in layers if not layer.is_bias and layer.size and not masks[layer.name].any()]
    if empty:
        raise ArgumentError(f"`sparsity` must leave weights in every layer; {', '.join(empty)} would be empty."
                            " Lower it, pass min_kept=1, or allow_empty=True.")
