"""Gaussian weights: of one variance in every layer, or of a variance that the fans of the layer set."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from jacprobe.isometry.checks import check_number
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer


def gaussian(layer: Layer, generator: torch.Generator, *, variance: float) -> Drawn:
    """Return independent weights of law N(0, variance)."""
    weight = torch.empty(layer.shape, dtype=torch.float64)
    return Drawn(nn.init.normal_(weight, std=math.sqrt(variance), generator=generator))


def scaled_gaussian(model: nn.Module, *, gamma: float) -> Draw:
    """Scaled Gaussian N(0, gamma): gamma is a variance, the same in every layer (Lee et al. 2020, section 3.1)."""
    check_number("gamma", gamma, "positive and finite", "It is the variance of the weights.")
    return lambda layer, generator: gaussian(layer, generator, variance=gamma)


def variance_scaling(variance: Callable[[int, int], float]) -> Callable[[nn.Module], Draw]:
    """Return the initialiser whose variance is a function of fan in and fan out, those of one group.

    ``torch.nn.init`` takes the fans of a transposed convolution the wrong way round, and of groups all outputs.
    """

    def initialiser(model: nn.Module) -> Draw:
        def draw(layer: Layer, generator: torch.Generator) -> Drawn:
            return gaussian(layer, generator, variance=variance(layer.fan_in, layer.fan_out))

        return draw

    return initialiser
