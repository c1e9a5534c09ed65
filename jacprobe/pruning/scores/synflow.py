"""Synaptic flow: a score of the paths through the weights, without data."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError
from jacprobe.modelstate import AFFINE, owned_parameters
from jacprobe.pruning.batches import input_shape_of
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.gradients import differentiable, scaled
from jacprobe.pruning.network import Network, opened
from jacprobe.pruning.scores.paths import Survey, run_paths, survey_paths

_TOLERANCE = 1e-8  # of a conserved sum, in float64


def synflow(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    input_shape: tuple[int, ...] | None = None,
) -> dict[str, Tensor]:
    """Synaptic flow: |w| dR/d|w| of R = 1' |W_L| ... |W_1| 1, the sum over all paths; scores sum to 1.

    No data are needed. All weights count by their absolute values; biases are zero and score 0; activation functions,
    dropout and batch norm are the identity, whatever ``scoring.batch_norm`` says. The work is done in float64, in a
    unit that is changed wherever all paths pass through one tensor, so that no depth overflows.

    Parameters
    ----------
    model, names, scoring
        As for every score.
    input_shape
        Shape of one input; default that of ``scoring.data``, or the one that the model was built for.

    Raises
    ------
    ArgumentError, ShapeError
        The shape of the inputs is not known.
    ModelError
        The sum over paths is not conserved from layer to layer: some operation, such as a softmax or a layer norm, is
        not homogeneous. Also where the model does not take the inputs, or no path is left.
    NonFiniteError
        The sum overflows between two tensors that all paths pass through.

    References
    ----------
    Tanaka, Kunin, Yamins and Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic
    flow", NeurIPS 2020.
    """
    with opened(model, names, replace(scoring, batch_norm="paper"), dtype=torch.float64) as network:
        shape = input_shape_of(model, scoring, input_shape, "synflow")
        biases = {name for name, owned in owned_parameters(network.model).items() if owned.attribute == "bias"}
        weights = [name for name in names if name not in biases]
        positive, state = _positive(network, biases)
        inputs = torch.ones(1, *shape, dtype=torch.float64, device=network.device).requires_grad_()
        survey = survey_paths(network, inputs.detach())
        total = run_paths(network, state, inputs, survey.cuts).sum()
        with differentiable():
            slope, *slopes = torch.autograd.grad(total, [inputs, *(positive[name] for name in weights)],
                                                 allow_unused=True, materialize_grads=True)
        parts = dict(zip(weights, slopes, strict=True))
        found = {name: network.weights[name].detach().abs() * parts[name] if name in parts
                 else torch.zeros_like(network.weights[name]) for name in names}
        scores = scaled(network, found)
        flows = {name: float((positive[name].detach() * part).sum()) for name, part in parts.items()}
        entering = float((slope * inputs.detach()).sum())
        _check_conserved(float(total.detach()), {"the input": entering, **_flows_of(survey, flows, network)})
        return scores


def _positive(network: Network, biases: set[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the absolute weights that are scored, and a state of absolute values with zero biases."""
    owned = owned_parameters(network.model)
    parameters = {item.name: plain for plain, item in owned.items()}
    state = {}
    for key, tensor in network.state.items():
        if key in parameters and tensor.is_floating_point():
            zero = parameters[key] in biases and isinstance(owned[parameters[key]].module, AFFINE)
            state[key] = torch.zeros_like(tensor) if zero else tensor.detach().abs()
        else:
            state[key] = tensor
    positive = {name: leaf.detach().abs().requires_grad_() for name, leaf in network.leaves.items()
                if name not in biases}
    return positive, network.substituted(positive, state)


def _flows_of(survey: Survey, flows: dict[str, float], network: Network) -> dict[str, float]:
    """Return the sums of the weights through which every path passes exactly once."""
    names = [f"{layer}.weight".lstrip(".") for layer in survey.chain()]
    return {name: flows[name] for name in names if name in flows and not network.is_tied(name)}


def _check_conserved(total: float, flows: dict[str, float]) -> None:
    for place, flow in flows.items():
        if not abs(flow - total) <= _TOLERANCE * abs(total):
            raise ModelError(f"`model` must conserve the sum over its paths for 'synflow'; it is {total:.6g} at the end"
                             f" and {flow:.6g} at {place}. Replace what is not homogeneous, as a softmax or a layer"
                             " norm, or choose another score.")
