"""Which activations the output of each layer meets first, found by tracing the model without data."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from jacprobe.errors import ArgumentError, JacprobeError
from jacprobe.isometry.initialisers.modelactivation import ELEMENTWISE
from jacprobe.modelstate import AFFINE, plain_name, preserved, unwrapped
from jacprobe.theory.activations import activation

Follower = nn.Module | Callable[[Tensor], Tensor]

_FUNCTIONS = {
    torch.relu, torch.relu_, F.relu, F.relu_, torch.tanh, F.tanh, torch.sigmoid, F.sigmoid, torch.selu, F.selu, F.elu,
    F.celu, F.gelu, F.silu, F.mish, F.leaky_relu, F.hardtanh, F.relu6, F.softplus, F.softsign, F.softshrink,
    F.hardshrink, F.tanhshrink, F.hardswish, F.hardsigmoid, F.logsigmoid, F.threshold, torch.erf, torch.special.erf,
    torch.sin, torch.clamp,
}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_METHODS = {"relu": torch.relu, "relu_": torch.relu, "tanh": torch.tanh, "tanh_": torch.tanh, "sigmoid": torch.sigmoid,
            "sigmoid_": torch.sigmoid, "erf": torch.erf, "sin": torch.sin, "clamp": torch.clamp}


class _Tracer(fx.Tracer):
    """Goes into every module but layers, activations, and those that are made of no others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*AFFINE, *ELEMENTWISE)) or not any(name != "parametrizations" for name in m._modules)


def activations_after(model: nn.Module) -> dict[str, list[Follower]]:
    """Return, by the name of its weight, what each linear and convolutional layer's output meets before another layer.

    Through sums, normalisations, poolings and whatever else is no activation the search goes on. Layers that tracing
    does not meet are left out.

    Raises
    ------
    ArgumentError
        The forward pass depends on its input so that it cannot be traced without; or an activation is spread over
        it, as in ``x * torch.sigmoid(x)``.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU(), nn.Linear(2, 2))
    >>> activations_after(net)
    {'0.weight': [ReLU()], '3.weight': []}
    """
    model = unwrapped(model)
    with preserved(model):
        try:
            graph = _Tracer().trace(model)
        except Exception as error:  # whatever a forward pass raises that gets a proxy for its input
            reason = str(error).partition("\n")[0]
            raise ArgumentError("`gain` must be a number, or numbers by weight name, where the forward pass cannot be"
                                f" traced without data; got 'theory': {reason}") from error
    found: dict[str, list[Follower]] = {}
    for node in graph.nodes:
        if node.op == "call_module" and isinstance(model.get_submodule(node.target), AFFINE):
            found.setdefault(plain_name(f"{node.target}.weight"), []).extend(_met(node, model))
    return found


def _met(layer: fx.Node, model: nn.Module) -> list[Follower]:
    """Return the activations on the ways from a layer to the next ones."""
    waiting, passed, met = list(layer.users), set(), {}
    while waiting:
        node = waiting.pop()
        if node in passed or node in met:
            continue
        follower = _activation_at(node, model)
        if follower is not None:
            met[node] = follower
        elif not (node.op == "call_module" and isinstance(model.get_submodule(node.target), AFFINE)):
            passed.add(node)
            waiting.extend(node.users)
    if any(node.target in _PRODUCTS and met.keys() & set(node.all_input_nodes) for node in passed):
        raise ArgumentError("`gain` must be a number, or numbers by weight name, where an activation multiplies its own"
                            f" input; got 'theory', and {layer.target!r} meets one. Put it into a module of its own.")
    return list(met.values())


def _activation_at(node: fx.Node, model: nn.Module) -> Follower | None:
    if node.op == "call_module":
        module = model.get_submodule(node.target)
        return module if isinstance(module, ELEMENTWISE) or _is_own_activation(module) else None
    if node.op == "call_function" and node.target in _FUNCTIONS:
        function = node.target
    elif node.op == "call_method" and node.target in _METHODS:
        function = _METHODS[node.target]
    else:
        return None
    named = {name: value for name, value in node.kwargs.items() if name not in ("inplace", "input")}
    if not node.args[1:] and not named:
        return function
    return lambda x: partial(function, **named)(x, *node.args[1:])


def _is_own_activation(module: nn.Module) -> bool:
    """Whether a module that is not torch's acts on each element, and not as a straight line."""
    if type(module).__module__.startswith("torch.") or any(True for _ in module.parameters()):
        return False
    try:
        phi = activation(module)
    except JacprobeError:
        return False
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    y = phi.function(x)
    return not torch.allclose(y[2:] + y[:-2], 2 * y[1:-1], atol=1e-12)
