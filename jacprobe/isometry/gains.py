"""The scale of isometry that each layer aims at: a number, one per layer, or what mean field theory asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.isometry.initialisers.modelactivation import ELEMENTWISE, activation_of
from jacprobe.modelstate import AFFINE, plain_name, unwrapped
from jacprobe.theory.criticality import gain as critical_gain

Gain = float | str | Mapping[str, float]


def layer_gains(model: nn.Module, names: Sequence[str], gain: Gain) -> dict[str, float]:
    """Return the gain of each weight in `names`.

    Parameters
    ----------
    gain
        A positive number; a number by weight name (1 for the others); or "theory": sigma_w of the critical point
        without biases of the activation that follows a layer among the modules, 1 where none does.

    Raises
    ------
    DtypeError, ArgumentError
        It is none of them, is not positive and finite, or the activation is not plain from the modules.
    UnknownNameError
        It names no weight of `names`.

    Examples
    --------
    >>> layer_gains(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), ["0.weight", "2.weight"], "theory")
    {'0.weight': 1.414..., '2.weight': 1.0}
    """
    if gain == "theory":
        found = _critical(model, names)
    elif isinstance(gain, Mapping):
        for name in gain:
            if name not in names:
                raise UnknownNameError("gain", name, names, "Gains go by the names of weights.")
        found = {name: gain.get(name, 1.0) for name in names}
    else:
        found = dict.fromkeys(names, gain)
    for value in found.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DtypeError(f"`gain` must be a number, 'theory', or numbers by weight name; got {value!r}. 1 aims at"
                             " isometry.")
        if not 0 < value < math.inf:
            raise ArgumentError(f"`gain` must be positive and finite; got {value}. 1 aims at isometry.")
    return found


def _critical(model: nn.Module, names: Sequence[str]) -> dict[str, float]:
    """Return sigma_w by weight name."""
    try:
        activation_of(model)
    except ArgumentError as error:
        if "got none" in str(error):
            raise ArgumentError("`gain` must be a number where no module of the model is a known activation; got"
                                " 'theory'. Pass sqrt(2) for ReLU, for example.") from error
    found, last = dict.fromkeys(names, 1.0), None
    for name, module in unwrapped(model).named_modules():
        if isinstance(module, AFFINE):
            last = plain_name(f"{name}.weight" if name else "weight")
        elif isinstance(module, ELEMENTWISE) and last in found:
            found[last], last = _gain_of(module), None
    return found


def _gain_of(module: nn.Module) -> float:
    try:
        return critical_gain(module, sigma_b2=0.0)
    except ArgumentError as error:
        raise ArgumentError(f"`gain` must be a number for {module}; got 'theory', but it has no single critical point"
                            f" without biases: {error}") from error
