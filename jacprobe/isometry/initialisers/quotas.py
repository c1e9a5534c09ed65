"""A number for every layer, given as one number for all or by name."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.isometry.initialisers.layer import Layer


def per_layer(argument: str, given: object, layers: list[Layer]) -> dict[str, float]:
    """Return the number of each layer by the name of its weight; layers that a mapping does not name are left out.

    Raises
    ------
    DtypeError
        `given`, the argument called `argument`, is neither a number nor a mapping from names to numbers.
    UnknownNameError
        It names what is no weight of a linear or convolutional layer.
    """
    names = [layer.parameter() for layer in layers]
    numbers = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, number in numbers.items():
        if name not in names:
            raise UnknownNameError(argument, name, names, "They are weights of linear and convolutional layers.")
        if isinstance(number, bool) or not isinstance(number, Real):
            raise DtypeError(f"`{argument}` must be a number, or numbers by name of the weight; got {number!r}."
                             " Pass for example 0.1.")
    return dict(numbers)


def kept_counts(density: object, layers: list[Layer]) -> dict[str, int]:
    """Return how many weights each layer keeps, ``round(density * size)``, by the name of its weight.

    Raises
    ------
    ArgumentError
        A density is not in (0, 1], or leaves fewer weights than an orthogonal matrix has at least.
    DtypeError, UnknownNameError
        As `per_layer`.
    """
    densities = per_layer("density", density, layers)
    counts = {}
    for layer in layers:
        name = layer.parameter()
        if name not in densities:
            continue
        share = densities[name]
        if not 0 < share <= 1:
            raise ArgumentError(f"`density` must be in (0, 1]; got {share}. It is the kept share of the weights.")
        size = layer.module.weight.numel()
        least = layer.groups * min(layer.rows, layer.cols)  # one weight in each row or column, whichever are fewer
        counts[name] = round(share * size)
        if counts[name] < least:
            raise ArgumentError(f"`density` must be at least {least / size:.3g} for {name!r}, or it cannot be"
                                f" orthogonal; got {share}. It needs {least} of {size} weights.")
    return counts
