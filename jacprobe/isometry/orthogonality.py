"""How far the weight matrices of a network are from orthogonal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError
from jacprobe.masks.checking import effective_weight
from jacprobe.modelstate import AFFINE, check_model, owned_parameters, preserved, unwrapped


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
        has at least ``sqrt(out_dim - in_dim * kernel)``.

    Raises
    ------
    DtypeError, NonFiniteError
        `model` is no module with finite weights.
    ModelError
        It has no shapes yet, or no linear or convolutional layer.

    References
    ----------
    Lee et al. 2020, section 5.1; as in their code, all layers count alike, the classifier included.

    Examples
    --------
    >>> net = nn.Linear(3, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    >>> orthogonality_score(net)
    3.0
    """
    check_model(model)
    layers = [module for module in unwrapped(model).modules() if isinstance(module, AFFINE)]
    if not layers:
        raise ModelError("`model` must have a linear or convolutional layer; it has none. Pass a network with weights.")
    with preserved(model), torch.no_grad():
        return sum(_residual(_matrix(layer)) for layer in layers) / len(layers)


def _matrix(layer: nn.Module) -> Tensor:
    """Return the weight as `(out_dim, in_dim * kernel)`; of a grouped convolution the blocks one below the other."""
    owned = owned_parameters(layer).get("weight")  # None where it is computed from others, as by a weight norm
    weight = (layer.weight if owned is None else effective_weight(owned)).detach().double()
    if getattr(layer, "transposed", False):
        weight = weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    return weight.flatten(1)


def _residual(matrix: Tensor) -> float:
    """Return ``||W'W - I||_F`` by the smaller of the two Gram matrices, which have the same eigenvalues but zeros."""
    out_dim, in_dim = matrix.shape
    gram = matrix @ matrix.T if out_dim <= in_dim else matrix.T @ matrix
    gram.diagonal().sub_(1)
    return float((gram.square().sum() + max(out_dim - in_dim, 0)).sqrt())
