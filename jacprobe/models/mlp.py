"""Fully connected networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from jacprobe.models.activations import make_activation


def fully_connected(widths: Sequence[int], *, activation: str) -> nn.Sequential:
    """Return the chain flatten, fc1, act1, ..., fcK from ``widths[0]`` inputs to ``widths[-1]`` outputs.

    The activation stands after every weight layer but the last.
    """
    layers = OrderedDict(flatten=nn.Flatten())
    depth = len(widths) - 1
    for index, (in_dim, out_dim) in enumerate(pairwise(widths), start=1):
        layers[f"fc{index}"] = nn.Linear(in_dim, out_dim)
        if index < depth:
            layers[f"act{index}"] = make_activation(activation)
    return nn.Sequential(layers)


def mlp(
    input_shape: Sequence[int], num_classes: int, *, depth: int, activation: str, width: int = 100
) -> nn.Sequential:
    """Return the paper's MLP with `depth` weight layers."""
    return fully_connected([math.prod(input_shape), *[width] * (depth - 1), num_classes], activation=activation)
