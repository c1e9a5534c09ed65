"""Mean-field weights and biases of chosen variances, and those at the edge of chaos of the model's activation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, ModelError, UnknownNameError
from jacprobe.isometry.checks import check_number
from jacprobe.isometry.initialisers.convolutional import convolutional_orthogonal
from jacprobe.isometry.initialisers.delta import delta_orthogonal
from jacprobe.isometry.initialisers.gaussian import gaussian
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer, affine_layers
from jacprobe.isometry.initialisers.modelactivation import activation_of
from jacprobe.isometry.initialisers.orthogonal import orthogonal
from jacprobe.theory.criticality import critical_point


def _gaussian(model: nn.Module, *, gain: float) -> Draw:
    return lambda layer, generator: gaussian(layer, generator, variance=gain**2 / layer.fan_in)


WEIGHTS = {
    "gaussian": _gaussian,
    "orthogonal": orthogonal,
    "conv-orthogonal": convolutional_orthogonal,
    "delta-orthogonal": delta_orthogonal,
}


def mean_field(model: nn.Module, *, sigma_w2: float, sigma_b2: float = 0.0, weights: str = "gaussian") -> Draw:
    """Return the initialiser with weights of variance sigma_w2 / fan_in and biases of variance sigma_b2.

    With other `weights` than "gaussian" they are orthogonal times sigma_w instead, in the sense of the initialiser of
    that name. That is the same variance where a layer has no more outputs than inputs; one with more keeps the length
    of the whole vector, so that the variance of its units is smaller.
    """
    check_number("sigma_w2", sigma_w2, "positive and finite", "It is the variance of a weight times the fan-in.")
    check_number("sigma_b2", sigma_b2, "at least 0 and finite", "It is the variance of a bias.")
    if weights not in tuple(WEIGHTS):
        raise UnknownNameError("weights", weights, WEIGHTS)
    if sigma_b2 > 0:
        _check_biases(model, sigma_b2)
    draw_weight = WEIGHTS[weights](model, gain=math.sqrt(sigma_w2))

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        return Drawn(draw_weight(layer, generator).weight, _bias(layer, generator, sigma_b2))

    return draw


def critical(
    model: nn.Module, *, activation: object = None, sigma_b2: float | None = None, q: float | None = None,
    weights: str = "gaussian"
) -> Draw:
    """Return the mean-field initialiser at the critical point of the model's activation, chi_1 = 1.

    The point is that of the bias variance `sigma_b2` (0 where neither is given) or of the squared length `q`.
    `activation` is what ``jacprobe.theory.activation`` takes; by default it is found among the modules of the model.

    The last layer gets the same variances, though no activation follows it; normalisations are not looked at.

    References
    ----------
    Poole et al. 2016; Schoenholz et al. 2017; Pennington et al. 2017 for orthogonal weights.
    """
    if sigma_b2 is not None and q is not None:
        raise ArgumentError(f"`sigma_b2` or `q` must be given, not both; got {sigma_b2} and {q}. Each sets the other.")
    given = activation_of(model) if activation is None else activation
    point = critical_point(given, q=q) if q is not None else critical_point(given, sigma_b2=sigma_b2 or 0.0)
    return mean_field(model, sigma_w2=point.sigma_w2, sigma_b2=point.sigma_b2, weights=weights)


def _check_biases(model: nn.Module, sigma_b2: float) -> None:
    for layer in affine_layers(model):
        if layer.module.bias is None:
            raise ModelError(f"`model` must have a bias in every layer where `sigma_b2` is {sigma_b2:.6g};"
                             f" {layer.name!r} has none. Pass sigma_b2=0, or build the layers with bias=True.")


def _bias(layer: Layer, generator: torch.Generator, variance: float) -> Tensor | None:
    bias = layer.module.bias
    if bias is None or variance == 0:
        return None
    return math.sqrt(variance) * torch.randn(bias.shape, generator=generator, dtype=torch.float64)
