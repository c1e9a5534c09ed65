"""Activations by name, as modules."""

from __future__ import annotations

from functools import partial

from torch import nn

ACTIVATIONS = {
    "linear": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "lrelu": partial(nn.LeakyReLU, 0.2),  # TensorFlow's slope, which the paper used; torch's default is 0.01
    "selu": nn.SELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


def make_activation(name: str) -> nn.Module:
    """Return a new module for the activation called `name`, a key of ``ACTIVATIONS``.

    Examples
    --------
    >>> make_activation("lrelu")
    LeakyReLU(negative_slope=0.2)
    """
    return ACTIVATIONS[name]()
