"""Networks by name, with seeded weights."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from jacprobe.errors import ArgumentError, BudgetError, ShapeError, UnknownNameError
from jacprobe.models.activations import ACTIVATIONS
from jacprobe.models.lenet import POOLS, lenet_5, lenet_300_100
from jacprobe.models.mlp import mlp
from jacprobe.models.names import named_network
from jacprobe.models.resnet import resnet, wrn_16
from jacprobe.models.vgg import vgg16

# architecture: (its function, the arguments a caller may give)
ARCHITECTURES = {
    "mlp": (mlp, ("width",)),
    "lenet_300_100": (lenet_300_100, ("activation",)),
    "lenet_5": (lenet_5, ("activation", "pool")),
    "vgg16": (vgg16, ("activation", "width")),
    "resnet": (resnet, ("activation", "block_size", "k")),
    "wrn_16": (wrn_16, ("activation",)),
}
CHOICES = {"activation": ACTIVATIONS, "pool": POOLS}  # every other argument is a positive integer


def build(
    name: str,
    *,
    input_shape: Sequence[int] = (1, 28, 28),
    num_classes: int = 10,
    seed: int = 0,
    **arguments: Any,
) -> nn.Module:
    """Build the network called `name`, with weights from N(0, 1/fan_in) and zero biases.

    Parameters
    ----------
    name
        One of ``model_names()``, or wrn-16-K for any K >= 1.
    input_shape
        Channels, height and width of one image.
    num_classes
        Number of outputs.
    seed
        Seed of the weights, in [0, 2**63). The global random state is left alone.
    **arguments
        Of the architecture. mlp-*: `width` (100). lenet-300-100: `activation` ("relu"). lenet-5: `activation` and
        `pool` ("max" or "avg"). vgg16, vgg16-bn: `activation` and `width` of the first stage (64). resnet-*:
        `activation`, `k` (widening, 1) and `block_size` (blocks per stage, by the depth). wrn-16-K: `activation`.

    Returns
    -------
    torch.nn.Module
        On the CPU and in training mode, as every new module. Its `jacprobe_spec` is a plain dictionary with which
        ``build(spec["name"], **spec["arguments"])`` gives the same architecture; the seed is not in it.

    Raises
    ------
    UnknownNameError
        No such network, activation or pooling, or the network takes no argument of that name.
    ShapeError
        `input_shape` is not three positive integers with a product below 2**31, or too small for the network.
    ArgumentError
        `num_classes`, `seed`, `width`, `k` or `block_size` is no integer in its range.
    BudgetError
        The network does not fit in memory.

    References
    ----------
    Lee et al., "A Signal Propagation Perspective for Pruning Neural Networks at Initialization", ICLR 2020, section 5
    and appendix B; the weights are its variance scaling VS-L.

    Examples
    --------
    >>> net = build("mlp-3-tanh", input_shape=(1, 8, 8), width=20)
    >>> [tuple(parameter.shape) for parameter in net.parameters()]
    [(20, 64), (20,), (20, 20), (20,), (10, 20), (10,)]
    >>> net.jacprobe_spec
    {'name': 'mlp-3-tanh', 'arguments': {'input_shape': [1, 8, 8], 'num_classes': 10, 'width': 20}}
    """
    architecture, fixed = named_network(name)
    function, _ = ARCHITECTURES[architecture]
    shape = _image_shape(input_shape)
    num_classes = _positive("num_classes", num_classes)
    generator = torch.Generator().manual_seed(_seed(seed))
    arguments = checked_arguments(name, arguments)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # constructors draw weights, replaced below
            net = function(shape, num_classes, **(fixed | arguments))
    except RuntimeError as error:  # the arguments are checked; what is left is an allocation that torch refuses
        size = str(error).splitlines()[0]
        raise BudgetError(f"`{name}` must fit in memory; got {arguments} and {size!r}. Build a smaller one.") from error
    _draw_weights(net, generator)
    net.jacprobe_spec = {"name": name, "arguments": {"input_shape": shape, "num_classes": num_classes, **arguments}}
    return net


def checked_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, int | str]:
    """Return the arguments of the architecture as plain values; errors are those of `build`."""
    _, allowed = ARCHITECTURES[named_network(name)[0]]
    return {key: _argument(name, key, value, allowed) for key, value in arguments.items()}


def _draw_weights(net: nn.Module, generator: torch.Generator) -> None:
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
            nn.init.zeros_(module.bias)


def _argument(name: str, key: str, value: object, allowed: Sequence[str]) -> int | str:
    """Check one architecture argument and return it as a plain value."""
    if key not in allowed:
        raise UnknownNameError(f"arguments of {name}", key, [*allowed, "input_shape", "num_classes", "seed"])
    if key not in CHOICES:
        return _positive(key, value)
    if not isinstance(value, str) or value not in CHOICES[key]:
        raise UnknownNameError(key, value, CHOICES[key])
    return value


def _integer(value: object) -> int | None:
    """Return an integer of any kind (NumPy's too) as int; None for everything else, bool included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _positive(key: str, value: object) -> int:
    number = _integer(value)
    if number is None or not 1 <= number < 2**31:
        raise ArgumentError(f"`{key}` must be an integer in [1, 2**31); got {value!r}. Pass one, such as 1.")
    return number


def _seed(seed: object) -> int:
    number = _integer(seed)
    if number is None or not 0 <= number < 2**63:
        raise ArgumentError(f"`seed` must be an integer in [0, 2**63); got {seed!r}. Pass a seed such as 0.")
    return number


def _image_shape(input_shape: Sequence[int]) -> list[int]:
    try:
        shape = [_integer(side) for side in input_shape]
    except TypeError:
        shape = []
    positive = len(shape) == 3 and all(side is not None and side >= 1 for side in shape)
    if not positive or math.prod(shape) >= 2**31:
        raise ShapeError(
            "`input_shape` must be three positive integers (channels, height, width) with a product below 2**31;"
            f" got {input_shape!r}. Pass a shape such as (1, 28, 28)."
        )
    return shape
