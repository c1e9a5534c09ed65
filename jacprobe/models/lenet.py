"""LeNet-300-100 and LeNet-5, as the pruning literature uses them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from jacprobe.errors import ShapeError
from jacprobe.models.activations import make_activation
from jacprobe.models.mlp import fully_connected

POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


def lenet_300_100(input_shape: Sequence[int], num_classes: int, *, activation: str = "relu") -> nn.Sequential:
    """Return the fully connected network with 300 and 100 hidden units."""
    return fully_connected([math.prod(input_shape), 300, 100, num_classes], activation=activation)


def lenet_5(
    input_shape: Sequence[int], num_classes: int, *, activation: str = "relu", pool: str = "max"
) -> nn.Sequential:
    """Return Caffe's LeNet-5: two 5x5 convolutions (20 and 50 channels), each pooled by 2, then 500 hidden units.

    Images with a side below 28 get convolutions with padding 2, so that 8x8 digits fit.

    Raises
    ------
    ShapeError
        A side is below 4, which two poolings reduce to nothing.
    """
    channels, *sides = input_shape
    if min(sides) < 4:
        got = tuple(input_shape)
        raise ShapeError(f"`input_shape` must have sides >= 4 for lenet-5; got {got}. Enlarge the images.")
    padding = 2 if min(sides) < 28 else 0
    for _ in range(2):
        sides = [(side + 2 * padding - 4) // 2 for side in sides]
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 20, 5, padding=padding),
            act1=make_activation(activation),
            pool1=POOLS[pool](2),
            conv2=nn.Conv2d(20, 50, 5, padding=padding),
            act2=make_activation(activation),
            pool2=POOLS[pool](2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * math.prod(sides), 500),
            act3=make_activation(activation),
            fc2=nn.Linear(500, num_classes),
        )
    )
