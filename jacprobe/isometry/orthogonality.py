"""How far the weight matrices of a network are from orthogonal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError, NonFiniteError
from jacprobe.isometry.checks import check_weight
from jacprobe.isometry.repair.blocks import to_blocks
from jacprobe.masks.checking import effective_weight
from jacprobe.modelstate import AFFINE, check_model, owned_parameters, plain_name, preserved, unwrapped


def orthogonality_score(model: nn.Module) -> float:
    """Return the mean over the layers of ``||W'W - I||_F``, which is 0 where every layer has orthonormal outputs.

    Parameters
    ----------
    model
        Any module with linear or convolutional layers; it is left untouched. The weights are those that the forward
        pass uses, masks included.

    Returns
    -------
    float
        With W of shape ``(in_dim * kernel, out_dim)``; I has ``out_dim`` rows. A layer with more outputs than inputs
        has at least ``sqrt(out_dim - in_dim * kernel)``. The groups of a convolution, which have inputs of their own,
        are a W each, and their squares add up. A tied weight counts once. The score of ``Repair`` is the same, of the
        weights over the gain.

    Raises
    ------
    DtypeError, NonFiniteError
        `model` is no module with finite, real weights.
    ModelError
        It has no shapes yet, a layer without entries, or no linear or convolutional layer.

    References
    ----------
    Lee et al. 2020, section 5.1: the mean over all layers, the classifier included. It has no groups.

    Examples
    --------
    >>> net = nn.Linear(3, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    >>> orthogonality_score(net)
    3.0
    """
    check_model(model)
    layers: dict[int, tuple[str, nn.Module]] = {}  # by the tensor that a layer owns, or the layer where it is derived
    for name, module in unwrapped(model).named_modules():
        if isinstance(module, AFFINE):
            owned = owned_parameters(module).get("weight")
            layers.setdefault(id(module if owned is None else owned.tensor), (name, module))
    if not layers:
        raise ModelError("`model` must have a linear or convolutional layer; it has none. Pass a network with weights.")
    with preserved(model), torch.no_grad():
        score = sum(_residual(_blocks(*layer)) for layer in layers.values()) / len(layers)
    if not math.isfinite(score):
        raise NonFiniteError("`model` must have weights whose Gram matrix is finite in float64; got a score of"
                             f" {score}. Rescale the weights.")
    return score


def _blocks(name: str, layer: nn.Module) -> Tensor:
    """Return the weight that the forward pass uses, float64 `(groups, in_dim * kernel, out_dim)`."""
    owned = owned_parameters(layer).get("weight")
    weight = layer.weight if owned is None else effective_weight(owned)
    check_weight(plain_name(f"{name}.weight" if name else "weight"), weight)
    return to_blocks(layer, weight.detach().double())


def _residual(blocks: Tensor) -> float:
    """Return ``||W'W - I||_F`` by the smaller of the two Gram matrices, which have the same eigenvalues but zeros."""
    num, in_dim, out_dim = blocks.shape
    gram = blocks.mT @ blocks if out_dim <= in_dim else blocks @ blocks.mT
    gram.diagonal(dim1=1, dim2=2).sub_(1)
    return math.hypot(float(gram.norm()), math.sqrt(num * max(out_dim - in_dim, 0)))
