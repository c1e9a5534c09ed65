"""The activation of a model, found among its modules."""

from __future__ import annotations

import re

from torch import nn

from jacprobe.errors import ArgumentError

ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.RReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink,
    nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)


def activation_of(model: nn.Module) -> nn.Module:
    """Return the activation module of the model, one of them where all are alike.

    Functions that the forward pass calls, and modules that are not torch's, are not seen.

    Raises
    ------
    ArgumentError
        The model has none, or several that differ.

    Examples
    --------
    >>> activation_of(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh()))
    Tanh()
    """
    found: dict[str, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, ELEMENTWISE):
            found.setdefault(description(module), module)
    if not found:
        raise ArgumentError("`activation` must be given where no module of the model is a known one; got none. Pass a"
                            " name such as 'tanh' or 'linear', or the function.")
    if len(found) > 1:
        raise ArgumentError(f"`activation` must be given where a model has several; found {', '.join(found)}. Pass the"
                            " one to go by.")
    return next(iter(found.values()))


def description(module: nn.Module) -> str:
    """Return the text by which activations are alike: class, options but `inplace`, and learnt numbers.

    Examples
    --------
    >>> description(nn.ReLU(inplace=True)), description(nn.PReLU(init=0.5))
    ('ReLU()', 'PReLU(num_parameters=1) [0.5]')
    """
    learnt = "".join(f" {parameter.detach().flatten().tolist()}" for parameter in module.parameters())
    return re.sub(r"(, )?inplace=\w+", "", repr(module)) + learnt
