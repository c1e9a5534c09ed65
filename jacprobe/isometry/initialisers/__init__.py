"""Initialisers by name: each is a function of the model and its arguments that returns how to draw one layer.

The function checks its arguments and prepares what the whole model decides; the draw, ``(layer, generator) -> Drawn``,
returns new values in float64 on the CPU and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from jacprobe.isometry.initialisers.convolutional import convolutional_orthogonal
from jacprobe.isometry.initialisers.delta import delta_orthogonal
from jacprobe.isometry.initialisers.expander import sparsity_aware_orthogonal
from jacprobe.isometry.initialisers.gaussian import scaled_gaussian, variance_scaling
from jacprobe.isometry.initialisers.givens import exact_orthogonal
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer, affine_layers
from jacprobe.isometry.initialisers.meanfield import critical, mean_field
from jacprobe.isometry.initialisers.orthogonal import orthogonal
from jacprobe.isometry.initialisers.ownfan import sparse_kaiming

INITIALISERS: dict[str, Callable[..., Draw]] = {
    "orthogonal": orthogonal,
    "sg": scaled_gaussian,
    "vs-l": variance_scaling(lambda fan_in, fan_out: 1 / fan_in),
    "vs-g": variance_scaling(lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    "vs-h": variance_scaling(lambda fan_in, fan_out: 2 / fan_in),
    "conv-orthogonal": convolutional_orthogonal,
    "delta-orthogonal": delta_orthogonal,
    "mean-field": mean_field,
    "critical": critical,
    "sparse-kaiming": sparse_kaiming,
    "eoi": exact_orthogonal,
    "sao": sparsity_aware_orthogonal,
}

__all__ = ["INITIALISERS", "Draw", "Drawn", "Layer", "affine_layers"]
