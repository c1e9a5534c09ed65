"""A score of the neural tangent kernel, by finite differences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.pruning.batches import input_shape_of
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.gradients import differentiable, scaled
from jacprobe.pruning.network import Network, opened
from jacprobe.pruning.sums import RunningSum

_CHUNK = 64  # inputs per pass


def ntk_sap(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    epsilon: float = 0.01,
    num_inputs: int = 128,
    num_draws: int = 1,
    redraw: bool = True,
    input_shape: tuple[int, ...] | None = None,
) -> dict[str, Tensor]:
    """Saliency of the tangent kernel: |d/dm E ||f(x; w m) - f(x; (w + epsilon D) m)||^2|; scores sum to 1.

    The squared change of the outputs under a small random change of the weights estimates the trace of the neural
    tangent kernel. No data are needed: weights w, inputs x and changes D are normal, from ``scoring.generator``.

    Parameters
    ----------
    model, names, scoring
        As for every score.
    epsilon
        Standard deviation of the change of a weight.
    num_inputs, num_draws
        Inputs per draw, and draws of w and D with inputs of their own.
    redraw
        Whether every draw, and so every round of a schedule, has new weights, as published: those of each scored
        parameter with the mean and the standard deviation that it has in the model. False takes the model's own.
    input_shape
        Shape of one input; default that of ``scoring.data``, or the one that the model was built for.

    Raises
    ------
    ArgumentError, ShapeError
        An argument is wrong, or the shape of the inputs is not known.
    ModelError, NonFiniteError
        The model does not take the inputs, a score is not finite, or all scores are zero.

    References
    ----------
    Wang, Li and Sun, "NTK-SAP: Improving neural network pruning by aligning training dynamics", ICLR 2023.
    """
    for name, value in (("num_inputs", num_inputs), ("num_draws", num_draws)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(f"`{name}` must be a positive whole number; got {value!r}. Leave it out.")
    if not isinstance(epsilon, (int, float)) or not 0 < epsilon < float("inf"):
        raise ArgumentError(f"`epsilon` must be a positive number; got {epsilon!r}. Try 0.01.")
    with opened(model, names, scoring) as network:
        shape = input_shape_of(model, scoring, input_shape, "ntk-sap")
        sums = {name: RunningSum(leaf) for name, leaf in network.leaves.items()}
        for _ in range(num_draws):
            weights = {name: _redrawn(weight, network, scoring) if redraw else weight
                       for name, weight in network.weights.items()}
            moved = {name: weight + epsilon * _normal(weight.shape, network, scoring)
                     for name, weight in weights.items()}
            inputs = _normal((num_inputs, *shape), network, scoring)
            for part in inputs.split(num_inputs if scoring.batch_norm == "train" else _CHUNK):
                _add_saliency(network, sums, [weights, moved], part)
        return scaled(network, {name: sums[name].times() for name in names})


def _normal(shape: tuple[int, ...], network: Network, scoring: Scoring) -> Tensor:
    drawn = torch.randn(shape, generator=scoring.generator, dtype=torch.float64)  # the same in every precision
    return drawn.to(network.device, network.dtype)


def _redrawn(weight: Tensor, network: Network, scoring: Scoring) -> Tensor:
    wide = weight.double()
    drawn = _normal(weight.shape, network, scoring).double()
    return (wide.mean() + wide.std(correction=0) * drawn).to(weight.dtype)


def _add_saliency(network: Network, sums: dict[str, RunningSum], pair: list[dict[str, Tensor]], inputs: Tensor) -> None:
    """Add the slopes of the squared difference of the outputs at two sets of weights, by masks of both."""
    leaves = [{name: network.masked(name, weight).detach().requires_grad_() for name, weight in weights.items()}
              for weights in pair]
    here, there = (network.run(inputs.clone(), network.substituted(weights)) for weights in leaves)
    with differentiable():
        slopes = torch.autograd.grad((here - there).square().sum(), [leaf for each in leaves for leaf in each.values()],
                                     allow_unused=True, materialize_grads=True)
    for weights, parts in zip(pair, (slopes[: len(sums)], slopes[len(sums) :]), strict=True):
        for name, slope in zip(network.names, parts, strict=True):
            sums[name].add(weights[name] * slope)
