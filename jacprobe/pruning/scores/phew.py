"""Paths with higher edge weights: masks made of random walks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from jacprobe.errors import ArgumentError, ModelError
from jacprobe.modelstate import owned_parameters
from jacprobe.progress import progress_bar
from jacprobe.pruning.batches import input_shape_of
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.network import Network, opened
from jacprobe.pruning.scores.paths import survey_paths
from jacprobe.pruning.scores.weights import effective_weights

_WALKS = 2048  # at a time and in each direction
_PATIENCE = 50  # rounds without a new weight, after which the rest cannot be reached


def phew(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    coverage: float = 0.5,
    input_shape: tuple[int, ...] | None = None,
) -> dict[str, Tensor]:
    """Order of the first visits of random walks between inputs and outputs, the earliest highest.

    A walk takes each weight with a probability proportional to its absolute value among those of the unit where it
    stands. Walks from the inputs and from the outputs alternate; their starts go round all units. The highest k scores
    so are the weights of the first walks, up to the k-th weight. Weights that no walk has visited are negative and
    follow by their absolute values; biases follow last.

    Parameters
    ----------
    model, names, scoring
        As for every score. The model is a chain of linear and convolutional layers; walks pass through all of them.
    coverage
        Share of the weights after which the walks end, in (0, 0.9]: the largest density of a mask made of walks.
    input_shape
        Shape of one input; default that of ``scoring.data``, or the one that the model was built for.

    Raises
    ------
    ArgumentError, ShapeError
        `coverage` lies outside its range, or the shape of the inputs is not known.
    ModelError
        The model is no chain of ungrouped Linear, Conv1d, Conv2d and Conv3d layers with weights of their own and no
        other parameters of two or more dimensions, or no walk comes through.

    References
    ----------
    Patil and Dovrolis, "PHEW: Constructing Sparse Networks that Learn Fast and Generalize Well without Training Data",
    ICML 2021.
    """
    if not isinstance(coverage, (int, float)) or not 0 < coverage <= 0.9:
        raise ArgumentError(f"`coverage` must lie in (0, 0.9]; got {coverage!r}. Walks for more take too long.")
    with opened(model, names, scoring) as network:
        shape = input_shape_of(model, scoring, input_shape, "phew")
        inputs = torch.zeros(1, *shape, dtype=network.dtype, device=network.device)
        chain = _chain(network, inputs)
    weights = effective_weights(model, list(dict.fromkeys([*chain, *names])))
    masks = scoring.masks or {}
    layers = [_Layer.of(weights[name] * masks[name] if name in masks else weights[name]) for name in chain]
    fans = _fans(chain, layers)
    with progress_bar(desc="phew", unit="weight", progress=scoring.progress) as bar:
        _walk_all(layers, fans, coverage, scoring.generator, bar)
    visits = dict(zip(chain, (layer.visits for layer in layers), strict=True))
    return {name: _order(weights[name].double(), visits.get(name)) for name in names}


@dataclass(frozen=True)
class _Layer:
    """The weights of a layer for walks in both directions, and the first visit of each weight; inf for none."""

    forward: Tensor
    backward: Tensor
    num_in: int
    num_out: int
    num_taps: int
    num_weights: int
    visits: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> _Layer:
        sizes = weight.double().abs().flatten(2) if weight.ndim > 2 else weight.double().abs()[..., None]
        num_out, num_in, num_taps = sizes.shape
        return cls(sizes.transpose(0, 1).flatten().cumsum(0), sizes.flatten().cumsum(0), num_in, num_out, num_taps,
                   int((sizes > 0).sum()), torch.full(weight.shape, torch.inf, dtype=torch.float64))

    def step(self, units: Tensor, alive: Tensor, generator: torch.Generator, *,
             backward: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return the units beyond, the flat weight that each walk takes, and which walks are still alive."""
        ladder = self.backward if backward else self.forward
        width = len(ladder) // (self.num_out if backward else self.num_in)
        last = ladder[units * width + width - 1]
        first = torch.where(units > 0, ladder[(units * width - 1).clamp(min=0)], 0)
        alive = alive & (last > first)
        target = first + torch.rand(len(units), generator=generator, dtype=torch.float64) * (last - first)
        found = torch.searchsorted(ladder, target, right=True)
        found = torch.minimum(torch.maximum(found, units * width), units * width + width - 1)
        beyond, taps = (found % width) // self.num_taps, found % self.num_taps
        outs, ins = (units, beyond) if backward else (beyond, units)
        return beyond, (outs * self.num_in + ins) * self.num_taps + taps, alive


def _chain(network: Network, inputs: Tensor) -> list[str]:
    """Return the names of the weights in the order of the walks."""
    survey = survey_paths(network, inputs)
    chain = survey.chain()
    for name in dict.fromkeys(name for _, name in survey.layers):
        module = network.model.get_submodule(name)
        if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            raise _no_chain(f"{name!r}, a {type(module).__name__}")
        if getattr(module, "groups", 1) != 1:
            raise _no_chain(f"{name!r} with {module.groups} groups")
        if name not in chain:
            raise _no_chain(f"{name!r} on a branch or run twice")
    weights = [f"{name}.weight".lstrip(".") for name in chain]
    others = [name for name, owned in owned_parameters(network.model).items()
              if owned.tensor.ndim > 1 and name not in weights]
    if others or not weights:
        raise _no_chain(f"{others[0]!r} besides" if others else "no layer")
    return weights


def _no_chain(got: str) -> ModelError:
    return ModelError(f"`model` must be a chain of ungrouped linear and convolutional layers for 'phew'; got {got}."
                      " Choose another score, such as 'synflow'.")


def _fans(chain: list[str], layers: list[_Layer]) -> list[int]:
    """Return for each layer but the first how many of its inputs each output of the one before becomes."""
    fans = []
    for name, before, after in zip(chain[1:], layers, layers[1:], strict=False):
        fan, rest = divmod(after.num_in, before.num_out)
        if rest or not fan:
            raise _no_chain(f"{before.num_out} outputs before the {after.num_in} inputs of {name!r}")
        fans.append(fan)
    return fans


def _walk_all(layers: list[_Layer], fans: list[int], coverage: float, generator: torch.Generator, bar: tqdm) -> None:
    """Walk until `coverage` of the weights is visited, or nothing new comes."""
    goal, visited, idle, number = coverage * sum(layer.visits.numel() for layer in layers), 0, 0, 0
    starts = [_Round(layers[0].num_in, generator), _Round(layers[-1].num_out, generator)]
    while visited < goal and idle < _PATIENCE:
        new = 0
        for backward in (False, True):
            walks = number + 2 * torch.arange(_WALKS) + backward
            new += _walk(layers, fans, starts[backward].take(_WALKS), walks, generator, backward=backward)
        number, visited, idle = number + 2 * _WALKS, visited + new, 0 if new else idle + 1
        bar.update(new)
    if not visited:
        raise ModelError("`model` must have a path from input to output for 'phew'; no walk came through. Lower the"
                         " sparsity that it has.")


def _walk(layers: list[_Layer], fans: list[int], units: Tensor, walks: Tensor, generator: torch.Generator, *,
          backward: bool) -> int:
    """Take one walk from each of `units` and note it where it comes through; return the number of new weights."""
    alive, taken = torch.ones(len(units), dtype=torch.bool), []
    order = range(len(layers) - 1, -1, -1) if backward else range(len(layers))
    for index in order:
        units, weights, alive = layers[index].step(units, alive, generator, backward=backward)
        taken.append(weights)
        if backward and index > 0:
            units = units // fans[index - 1]
        elif not backward and index < len(fans):
            units = units * fans[index] + torch.randint(fans[index], units.shape, generator=generator)
    new = 0
    for position, (index, weights) in enumerate(zip(order, taken, strict=True)):
        visits = layers[index].visits.view(-1)
        weights, when = weights[alive], (walks * len(layers) + position).double()[alive]
        new += int(weights[visits[weights].isinf()].unique().numel())
        visits.scatter_reduce_(0, weights, when, "amin")
    return new


class _Round:
    """Units in a random order, again and again."""

    def __init__(self, num: int, generator: torch.Generator):
        self._order, self._begin = torch.randperm(num, generator=generator), 0

    def take(self, count: int) -> Tensor:
        found = self._order[(self._begin + torch.arange(count)) % len(self._order)]
        self._begin += count
        return found


def _order(weight: Tensor, visits: Tensor | None) -> Tensor:
    """Return scores in (0, 1] for visited weights, the earlier the higher, and in [-1, 0) for the others."""
    if visits is None:
        return torch.full_like(weight, -1.0)
    sizes = weight.abs()
    behind = -1 + 0.999 * sizes / sizes.max().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(visits.isinf(), behind, 1 / (1 + visits))
