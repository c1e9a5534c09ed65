"""VGG16 in the paper's form: configuration C with two hidden layers of 512 units."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from jacprobe.models.activations import make_activation
from jacprobe.models.normalisation import make_batch_norm

# per stage: factor of the base width, kernel size of each convolution
STAGES = ((1, (3, 3)), (2, (3, 3)), (4, (3, 3, 1)), (8, (3, 3, 1)), (8, (3, 3, 1)))


def vgg16(
    input_shape: Sequence[int], num_classes: int, *, batch_norm: bool, activation: str = "relu", width: int = 64
) -> nn.Sequential:
    """Return VGG16 with base width `width`, its hidden layers normalised too where `batch_norm` is True.

    A stage ends in a max-pooling by 2 as long as both sides allow it, so that 8x8 images fit. Images with both sides
    >= 64 enter with stride 2.

    References
    ----------
    Simonyan and Zisserman 2015, Table 1, configuration C; Lee et al. 2020, section 5 and appendix B.
    """
    channels, *sides = input_shape
    stride = 2 if min(sides) >= 64 else 1
    sides = [math.ceil(side / stride) for side in sides]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, (factor, kernels) in enumerate(STAGES, start=1):
        for index, kernel in enumerate(kernels, start=1):
            name, out_channels = f"{stage}_{index}", width * factor
            layers[f"conv{name}"] = nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2)
            if batch_norm:
                layers[f"bn{name}"] = make_batch_norm(out_channels)
            layers[f"act{name}"] = make_activation(activation)
            channels, stride = out_channels, 1
        if min(sides) >= 2:
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
            sides = [side // 2 for side in sides]
    layers["flatten"] = nn.Flatten()
    in_dim = channels * math.prod(sides)
    for name in ("6", "7"):  # VGG counts its five stages on: fc6, fc7, fc8
        layers[f"fc{name}"] = nn.Linear(in_dim, 8 * width)
        if batch_norm:
            layers[f"bn{name}"] = make_batch_norm(8 * width, images=False)
        layers[f"act{name}"] = make_activation(activation)
        in_dim = 8 * width
    layers["fc8"] = nn.Linear(in_dim, num_classes)
    return nn.Sequential(layers)
