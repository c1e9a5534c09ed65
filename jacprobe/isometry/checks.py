"""Checks that initial weights and repairs share: numbers given as arguments, and weights that can be isometries."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, ModelError

_DOMAINS: dict[str, Callable[[Real], bool]] = {
    "finite": math.isfinite,
    "positive and finite": lambda value: 0 < value < math.inf,
    "at least 0 and finite": lambda value: 0 <= value < math.inf,
}


def check_number(name: str, value: object, domain: str, cure: str) -> None:
    """Check that the argument `name` is a real number, also one of NumPy, in a `domain`.

    Raises
    ------
    DtypeError
        It is no number.
    ArgumentError
        It is out of the domain.

    Examples
    --------
    >>> check_number("gain", -1.0, "positive and finite", "1 aims at isometry.")
    Traceback (most recent call last):
    ...
    jacprobe.errors.ArgumentError: `gain` must be positive and finite; got -1.0. 1 aims at isometry.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DtypeError(f"`{name}` must be a number; got {value!r}. {cure}")
    if not _DOMAINS[domain](value):
        raise ArgumentError(f"`{name}` must be {domain}; got {value}. {cure}")


def check_weight(name: str, weight: Tensor) -> None:
    """Check that the weight `name` of a layer is a real tensor with entries.

    Raises
    ------
    ModelError
        It has no entries.
    DtypeError
        It is complex.
    """
    if not weight.numel():
        raise ModelError(f"`model` must have weights in every layer; {name!r} has the shape {tuple(weight.shape)}."
                         " Build it with at least one input and output.")
    if weight.is_complex():
        raise DtypeError(f"`model` must have real weights; {name!r} is {weight.dtype}. Convert the model.")
