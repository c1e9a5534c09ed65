"""Gradient signal preservation: a score of second derivatives."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.pruning.batches import Batches, balanced
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.gradients import differentiable, opened_on_data, scaled, steps, summed_gradients
from jacprobe.pruning.losses import Loss, LossFn, make_loss
from jacprobe.pruning.network import Network
from jacprobe.pruning.sums import RunningSum


def grasp(
    model: nn.Module,
    names: list[str],
    scoring: Scoring,
    *,
    loss: str | LossFn = "labels",
    temperature: float = 200.0,
    per_class: int | None = 10,
) -> dict[str, Tensor]:
    """Gradient signal preservation: w * H g, signed; the absolute values sum to 1.

    To first order, removing a weight changes the squared norm of the gradient g by ``-2 w (H g)``; what is kept are
    the weights whose removal would lower it most. (The paper removes the highest ``-w * H g``, which is the same.)

    Parameters
    ----------
    model, names, scoring, loss
        As for ``snip``.
    temperature
        The outputs are divided by it.
    per_class
        So many samples of each class are drawn with ``scoring.generator``; both g and H are those of their mean loss.
        None takes all samples, as a loss without labels does, at two passes over them; they are held in memory.

    Raises
    ------
    ArgumentError, DtypeError, UnknownNameError, ModelError, NonFiniteError
        As for ``snip``; also where a class has too few samples, or the model has no second derivatives.

    References
    ----------
    Wang, Zhang and Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020.
    """
    if per_class is not None and (isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1):
        raise ArgumentError(f"`per_class` must be a positive whole number or None; got {per_class!r}. Try 10.")
    loss = make_loss(loss, temperature=temperature)

    def chosen(network: Network, batches: Batches) -> Batches:
        if per_class is None or not loss.labelled:  # read once, as a loader may shuffle and both passes see the same
            return replace(batches, data=list(batches))
        with torch.no_grad():
            outputs = network.run(network.placed(batches.first()[0][:2])[0])
        return balanced(batches, per_class, outputs.shape[-1], scoring.generator)

    with opened_on_data(model, names, scoring, loss, "grasp", chosen=chosen) as (network, batches):
        sums, num = summed_gradients(network, batches, loss)
        direction = {name: network.masked(name, sums.pop(name).times().div_(num).to(network.dtype)) for name in names}
        curvature = _hessian_products(network, batches, loss, direction)
        return scaled(network, {name: curvature[name].times(network.weights[name]).div_(num) for name in names},
                      signed=True)


def _hessian_products(network: Network, batches: Batches, loss: Loss,
                      direction: dict[str, Tensor]) -> dict[str, RunningSum]:
    """Return per name the sum over all samples of the Hessian of the loss times `direction`."""
    leaves = list(network.leaves.values())
    sums = [RunningSum(leaf) for leaf in leaves]
    for inputs, labels in steps(network, batches, "grasp"):
        losses = loss(network, inputs, labels)
        with differentiable():
            gradients = torch.autograd.grad(losses.sum(), leaves, create_graph=True, allow_unused=True,
                                            materialize_grads=True)
            slope = sum((gradient * direction[name]).sum()
                        for name, gradient in zip(network.leaves, gradients, strict=True))
            products = torch.autograd.grad(slope, leaves, allow_unused=True, materialize_grads=True)
        for total, product in zip(sums, products, strict=True):
            total.add(product)
    return dict(zip(network.leaves, sums, strict=True))
