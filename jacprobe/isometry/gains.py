"""The scale of isometry that each layer aims at: a number, one per layer, or what mean field theory asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import nn

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.isometry.checks import check_number
from jacprobe.isometry.followers import Follower, activations_after
from jacprobe.isometry.initialisers.modelactivation import description
from jacprobe.theory.criticality import gain as critical_gain

Gain = float | str | Mapping[str, float]
_CURE = "Or pass 'theory', or numbers by weight name; 1 aims at isometry."


def layer_gains(model: nn.Module, names: Sequence[str], gain: Gain) -> dict[str, float]:
    """Return the gain of each weight in `names`.

    Parameters
    ----------
    gain
        A positive number; a number by weight name (1 for the others); or "theory": sigma_w of the critical point
        without biases of the activation that the output of a layer meets first, 1 where it meets none before the next
        layer. The model is traced for it, without data: activations are modules or functions of torch, or modules of
        their own without parameters.

    Raises
    ------
    DtypeError, ArgumentError
        It is none of them, or is not positive and finite. Of "theory": the model cannot be traced or has no activation;
        a layer is not met, or meets activations of unlike gains; one has no single critical point without biases.
    UnknownNameError
        It names no weight of `names`.

    Examples
    --------
    >>> layer_gains(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), ["0.weight", "2.weight"], "theory")
    {'0.weight': 1.414..., '2.weight': 1.0}
    """
    if isinstance(gain, str) and gain == "theory":
        return _critical(model, names)
    numbers = gain if isinstance(gain, Mapping) else dict.fromkeys(names, gain)
    for name, number in numbers.items():
        if name not in names:
            raise UnknownNameError("gain", name, names, "Gains go by the names of weights.")
        check_number("gain", number, "positive and finite", _CURE)
    return {name: float(numbers.get(name, 1.0)) for name in names}


def _critical(model: nn.Module, names: Sequence[str]) -> dict[str, float]:
    """Return sigma_w by weight name."""
    followers = activations_after(model)
    if not any(followers.values()):
        raise ArgumentError("`gain` must be a number where no known activation follows a layer; got 'theory'. Pass"
                            " 1.0 for a linear network.")
    known: dict[str, float] = {}
    found = {}
    for name in names:
        if name not in followers:
            raise ArgumentError("`gain` must be a number, or numbers by weight name, where tracing the model does not"
                                f" meet all layers; got 'theory', but {name!r} is not met.")
        gains = [_gain_of(follower, known) for follower in followers[name]] or [1.0]
        if not math.isclose(min(gains), max(gains), rel_tol=1e-9):
            shown = ", ".join(f"{number:.6g}" for number in sorted(set(gains)))
            raise ArgumentError("`gain` must be numbers by weight name where a layer meets unlike activations; got"
                                f" 'theory', and {name!r} meets gains {shown}.")
        found[name] = gains[0]
    return found


def _gain_of(follower: Follower, known: dict[str, float]) -> float:
    """Return the critical sigma_w of an activation; `known` are those of modules that were met before."""
    shown = description(follower) if isinstance(follower, nn.Module) else getattr(follower, "__name__", "a function")
    key = shown if isinstance(follower, nn.Module) else str(id(follower))
    if key not in known:
        try:
            known[key] = critical_gain(follower, sigma_b2=0.0)
        except ArgumentError as error:
            raise ArgumentError(f"`gain` must be a number for {shown}; got 'theory', but it has no single critical"
                                f" point without biases: {error}") from error
    return known[key]
