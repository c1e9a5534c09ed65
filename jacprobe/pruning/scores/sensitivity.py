"""Scores of the first derivatives of a loss: connection sensitivity and its relatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.pruning.batches import Batch
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.gradients import (
    check_accumulate,
    differentiable,
    opened_on_data,
    scaled,
    summed_gradients,
    summed_sample_gradients,
)
from jacprobe.pruning.losses import Loss, LossFn, make_loss
from jacprobe.pruning.network import Network


def snip(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    loss: str | LossFn = "labels",
    accumulate: str = "sum",
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Connection sensitivity: |dL/dc| of multiplicative masks c at 1, which is |w dL/dw|; scores sum to 1.

    Parameters
    ----------
    model, names, scoring
        As for every score; ``scoring.data`` is needed, with labels where the loss needs them.
    loss, temperature
        See ``make_loss``.
    accumulate
        "sum": the signed gradient is summed over all samples before the absolute value, as in the paper. "mean": the
        same divided by the number of samples, which after scaling is the same. "absolute": the absolute gradients of
        the single samples are summed, at the cost of a gradient per sample.

    Raises
    ------
    ArgumentError, DtypeError
        The data do not give batches of samples (and labels).
    UnknownNameError
        No such loss or way to accumulate.
    ModelError, NonFiniteError
        The model does not fit the data, the loss or a score is not finite, or all scores are zero.

    Notes
    -----
    However the samples are batched, the score is the same, as batches are merged and split to the size at which the
    model is fast. With ``batch_norm="train"`` they are not, since batch norm acts on the batches that are given.

    References
    ----------
    Lee et al. 2020, equations 1 and 3; Lee, Ajanthan and Torr, "SNIP", ICLR 2019.
    """
    check_accumulate(accumulate)
    loss = make_loss(loss, temperature=temperature)
    with opened_on_data(model, names, scoring, loss, "snip", shared=True) as (network, batches):
        if accumulate == "absolute":
            sums, num = summed_sample_gradients(network, batches, loss, torch.abs)
        else:
            sums, num = summed_gradients(network, batches, loss)
        found = {name: sums.pop(name).times(network.weights[name]) for name in names}
        if accumulate == "mean":
            found = {name: value.div_(num) for name, value in found.items()}
        return scaled(network, found)


def fisher(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    loss: str | LossFn = "labels",
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Fisher information: w^2 times the sum over single samples of the squared gradient; scores sum to 1.

    Squares are of single samples, not of batches, so that they do not depend on how the samples are batched; that
    costs a gradient per sample.

    Parameters
    ----------
    model, names, scoring, loss, temperature
        As for ``snip``.

    Raises
    ------
    ArgumentError, DtypeError, UnknownNameError, ModelError, NonFiniteError
        As for ``snip``; also where batch statistics mix the samples.

    References
    ----------
    Theis, Korshunova, Tejani and Huszar, "Faster gaze prediction with dense networks and Fisher pruning", 2018,
    for single weights.
    """
    loss = make_loss(loss, temperature=temperature)
    with opened_on_data(model, names, scoring, loss, "fisher") as (network, batches):
        sums, _ = summed_sample_gradients(network, batches, loss, torch.square)
        return scaled(network, {name: sums[name].times(network.weights[name].detach().square()) for name in names})


def prospr(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    loss: str | LossFn = "labels",
    temperature: float = 1.0,
    num_steps: int = 3,
    learning_rate: float = 0.1,
    batch_size: int = 512,
) -> dict[str, Tensor]:
    """Prospect pruning to first order: |w dL/dw_K| after K steps of SGD from w * c; scores sum to 1.

    The derivative of the trained weights by those at the start is taken for the identity. All parameters are trained.

    Parameters
    ----------
    model, names, scoring, loss, temperature
        As for ``snip``.
    num_steps, learning_rate
        Steps of plain SGD on the mean loss of a batch; with 0 steps the score is ``snip``.
    batch_size
        Samples per step, taken in the order of the data, from the start again when they run out; the batches of the
        data do not matter. The loss of the score is that of all data.

    Raises
    ------
    ArgumentError, DtypeError, UnknownNameError, ModelError, NonFiniteError
        As for ``snip``; also where the steps, their size or their number of samples are not sensible.

    References
    ----------
    Alizadeh et al., "Prospect Pruning: Finding Trainable Weights at Initialization using Meta-Gradients", ICLR 2022.
    """
    for name, value, least in (("num_steps", num_steps, 0), ("batch_size", batch_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(f"`{name}` must be a whole number of at least {least}; got {value!r}. Try {least + 3}.")
    if not isinstance(learning_rate, (int, float)) or not 0 < learning_rate < float("inf"):
        raise ArgumentError(f"`learning_rate` must be a positive number; got {learning_rate!r}. Try 0.1.")
    loss = make_loss(loss, temperature=temperature)
    with opened_on_data(model, names, scoring, loss, "prospr") as (network, batches):
        start = {name: weight.detach().clone() for name, weight in network.weights.items()}  # the steps are in place
        taken = 0
        while taken < num_steps:
            for inputs, labels in batches.resized(batch_size):
                _descend(network, loss, network.placed(inputs, labels), learning_rate)
                taken += 1
                if taken == num_steps:
                    break
        sums, _ = summed_gradients(network, batches, loss)
        return scaled(network, {name: sums[name].times(start[name]) for name in names})


def _descend(network: Network, loss: Loss, batch: Batch, learning_rate: float) -> None:
    """Take one step of all parameters in place; weights that are removed stay so."""
    parameters = network.parameters()
    losses = loss(network, *batch)
    with differentiable():
        gradients = torch.autograd.grad(losses.mean(), parameters, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= learning_rate * gradient
        for name, leaf in network.leaves.items():
            leaf.copy_(network.masked(name, leaf))
