"""Batch normalisation with the constant of the paper's code."""

from __future__ import annotations

from torch import nn

EPS = 1e-3  # TensorFlow's default; torch's is 1e-5


def make_batch_norm(channels: int, *, images: bool = True) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Return a new batch norm over feature maps, or over features where `images` is False.

    In evaluation mode a fresh one is the identity up to the factor ``1 / sqrt(1 + EPS)``.
    """
    return (nn.BatchNorm2d if images else nn.BatchNorm1d)(channels, eps=EPS)
