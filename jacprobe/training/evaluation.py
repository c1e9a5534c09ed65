"""Loss and error of a network on data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.training.data import Labelled
from jacprobe.training.precision import Precision

_CHUNK = 1_000  # samples; a convolutional network needs their activations at once


def batch_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the share of wrong classes in percent, without waiting for a GPU."""
    return 100 * (outputs.argmax(1) != labels).float().mean()


@torch.no_grad()
def evaluation(net: nn.Module, data: Labelled, precision: Precision) -> tuple[float, float]:
    """Return the mean cross-entropy and the error in percent of `net` in evaluation mode; then it trains on."""
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=data.inputs.device)
    wrong = torch.zeros((), dtype=torch.int64, device=data.inputs.device)
    for inputs, labels in zip(data.inputs.split(_CHUNK), data.labels.split(_CHUNK), strict=True):
        with precision.running():
            outputs = net(inputs)
            loss += nn.functional.cross_entropy(outputs, labels, reduction="sum")
        wrong += (outputs.argmax(1) != labels).sum()
    net.train()
    return float(loss) / len(data.labels), 100 * float(wrong) / len(data.labels)
