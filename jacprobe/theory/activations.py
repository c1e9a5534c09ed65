"""Activations by name, by module or by function."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jacprobe.errors import DtypeError, UnknownNameError
from jacprobe.theory.closed_forms import HARD_TANH, SINE, erf_forms, leaky_forms
from jacprobe.theory.functions import check_elementwise, find_kinks
from jacprobe.theory.gaussian import Activation

__all__ = ["ACTIVATIONS", "Activation", "activation", "leaky_relu"]

_ERF1 = math.sqrt(math.pi) / 2


def leaky_relu(slope: float, *, name: str = "") -> Activation:
    """Return max(x, 0) + slope * min(x, 0).

    Examples
    --------
    >>> leaky_relu(0.2).second_moment(1.0)
    0.52
    """
    return Activation(name or f"leaky-relu of slope {slope:g}", lambda x: F.leaky_relu(x, slope), (0.0,),
                      leaky_forms(slope))


ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in (
    Activation("linear", lambda x: 1.0 * x, (), leaky_forms(1.0)),
    Activation("relu", torch.relu, (0.0,), leaky_forms(0.0)),
    leaky_relu(0.01, name="leaky-relu"),
    leaky_relu(0.2, name="lrelu"),  # as in the networks of the paper
    Activation("tanh", torch.tanh),
    Activation("erf", torch.erf, (), erf_forms(1.0)),
    Activation("erf1", lambda x: torch.erf(_ERF1 * x), (), erf_forms(_ERF1)),  # slope 1 at 0
    Activation("hard-tanh", F.hardtanh, (-1.0, 1.0), HARD_TANH),
    Activation("sin", torch.sin, (), SINE),
    Activation("selu", F.selu, (0.0,)),
    Activation("elu", F.elu, (0.0,)),
    Activation("gelu", F.gelu),
    Activation("gelu-tanh", lambda x: F.gelu(x, approximate="tanh")),
    Activation("silu", F.silu),
    Activation("sigmoid", torch.sigmoid),
    Activation("softplus", lambda x: torch.logaddexp(x, torch.zeros_like(x))),  # F.softplus jumps by 2e-9 at 20
    Activation("relu6", F.relu6, (0.0, 6.0)),
    Activation("mish", F.mish),
    Activation("softsign", F.softsign, (0.0,)),
    Activation("hard-swish", F.hardswish, (-3.0, 3.0)),
    Activation("hard-sigmoid", lambda x: F.relu6(x + 3) / 6, (-3.0, 3.0)),  # F.hardsigmoid has a float32 1/6
)}
_SPELLINGS = {"identity": "linear", "leakyrelu": "leaky-relu", "hardtanh": "hard-tanh", "swish": "silu",
              "hardswish": "hard-swish", "hardsigmoid": "hard-sigmoid"}  # after lower case and hyphens
_FUNCTIONS: dict[object, str] = {
    torch.relu: "relu", F.relu: "relu", torch.tanh: "tanh", F.tanh: "tanh", torch.erf: "erf", torch.special.erf: "erf",
    F.hardtanh: "hard-tanh", torch.sin: "sin", torch.selu: "selu", F.selu: "selu", F.elu: "elu", F.gelu: "gelu",
    F.silu: "silu", torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid", F.relu6: "relu6", F.mish: "mish",
    F.leaky_relu: "leaky-relu", F.softsign: "softsign", F.hardswish: "hard-swish", F.hardsigmoid: "hard-sigmoid",
}
_MODULES: dict[type, Callable[[nn.Module], Activation]] = {
    nn.Identity: lambda module: ACTIVATIONS["linear"],
    nn.ReLU: lambda module: ACTIVATIONS["relu"],
    nn.LeakyReLU: lambda module: leaky_relu(module.negative_slope),
    nn.Tanh: lambda module: ACTIVATIONS["tanh"],
    nn.SELU: lambda module: ACTIVATIONS["selu"],
    nn.GELU: lambda module: ACTIVATIONS["gelu" if module.approximate == "none" else "gelu-tanh"],
    nn.SiLU: lambda module: ACTIVATIONS["silu"],
    nn.Sigmoid: lambda module: ACTIVATIONS["sigmoid"],
    nn.ReLU6: lambda module: ACTIVATIONS["relu6"],
}


def activation(spec: str | Activation | nn.Module | Callable[[Tensor], Tensor]) -> Activation:
    """Return the activation that `spec` names or computes.

    Parameters
    ----------
    spec
        A key of ``ACTIVATIONS`` ("leaky_relu" and "LeakyReLU" read as "leaky-relu"), an ``Activation``, a module such
        as ``nn.LeakyReLU(0.2)``, or a function of a tensor that acts on each element by itself and that autograd can
        differentiate, such as ``lambda x: x * torch.sigmoid(2 * x)``. The kinks of a function are searched for on
        [-1000, 1000].

    Raises
    ------
    UnknownNameError
        No such name.
    DtypeError
        None of these, or a function that returns no float64 tensor of the same shape.
    ArgumentError
        A function that mixes elements, is random, has no derivative, or jumps.
    NonFiniteError
        A function with values that are not finite near 0.

    Examples
    --------
    >>> activation("tanh").name
    'tanh'
    >>> activation(nn.Hardtanh(-2.0, 2.0)).kinks
    (-2.0, 2.0)
    >>> half = activation(lambda x: torch.relu(x) / 2)
    >>> round(half.second_moment(1.0), 12)
    0.125
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        name = spec.lower().replace("_", "-").replace(" ", "-")
        if _SPELLINGS.get(name, name) not in ACTIVATIONS:
            raise UnknownNameError("activation", spec, ACTIVATIONS,
                                   "Or pass a function of a tensor such as torch.tanh, or a module such as nn.Tanh().")
        return ACTIVATIONS[_SPELLINGS.get(name, name)]
    if not callable(spec) or isinstance(spec, type):
        raise DtypeError("`activation` must be a name, an Activation, a module or a function of a tensor; got"
                         f" {spec!r}. Pass for example 'tanh', torch.tanh or nn.Tanh().")
    if type(spec) in _MODULES:
        return _MODULES[type(spec)](spec)
    try:
        known = _FUNCTIONS.get(spec)
    except TypeError:  # a callable without a hash
        known = None
    return ACTIVATIONS[known] if known else _from_function(spec)


def _from_function(spec: nn.Module | Callable[[Tensor], Tensor]) -> Activation:
    """Return the activation of a function or module, checked, with the kinks that it has."""
    function, name = spec, getattr(spec, "__name__", type(spec).__name__)
    if isinstance(spec, nn.Module):
        function, name = copy.deepcopy(spec).double().eval(), repr(spec)
        name = type(spec).__name__ if "\n" in name else name
        function.requires_grad_(False)
        for module in function.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
    check_elementwise(function, name)
    return Activation(name, function, find_kinks(Activation(name, function)))
