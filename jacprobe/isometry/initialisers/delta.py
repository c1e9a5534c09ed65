"""Delta-orthogonal weights: an orthogonal matrix at the middle tap of the kernel, zero elsewhere."""

from __future__ import annotations

import torch
from torch import nn

from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer
from jacprobe.isometry.initialisers.orthogonal import check_gain, haar


def delta_orthogonal(model: nn.Module, *, gain: float = 1.0) -> Draw:
    """Return the initialiser that acts at every position by itself, by one orthogonal matrix per group, times `gain`.

    At stride 1 all singular values are `gain` under circular padding and under zero padding that keeps the size. An
    even kernel has no middle; the tap before it is taken, which "same" padding puts on the position itself, so the same
    holds. Other padding shifts the picture, and all singular values are still `gain` where no fewer outputs than inputs
    read every position, or no more outputs than inputs read positions inside the picture alone.

    At a larger stride the layer reads one position of each stride. That is exact for no more outputs than inputs; for
    more, the singular values are `gain`, one per input that is read, and else 0.

    References
    ----------
    Xiao et al. 2018: Haar matrix at the middle tap.
    """
    check_gain(gain)

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        blocks = [gain * haar(layer.rows, layer.cols, generator) for _ in range(layer.groups)]
        return Drawn(layer.at_centre(blocks))

    return draw
