"""The settings that each measure reads beside the recipe, and what values they may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.experiments.recipe import Recipe
from jacprobe.probe.precision import ACCURACIES
from jacprobe.probe.probing import KINDS
from jacprobe.training import Training
from jacprobe.training.settings import whole_number

Check = Callable[[str, Any], Any]
_OF_RECIPES = tuple(field.name for field in fields(Recipe))
_OF_TRAINING = tuple(field.name for field in fields(Training))


def own_settings(measure: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not the recipe's, checked to be some that the measure reads.

    Raises
    ------
    UnknownNameError
        The measure has no such setting.
    ArgumentError, DtypeError
        A value is outside its domain.

    Examples
    --------
    >>> own_settings("patterns", {"network": "mlp-7-tanh", "layers": "fc1"})
    {'layers': ['fc1']}
    """
    known, found = SETTINGS[measure], {}
    for name, value in settings.items():
        if name in known:
            found[name] = known[name](name, value)
        elif name not in _OF_RECIPES:
            raise UnknownNameError(f"settings of {measure}", name, sorted({*_OF_RECIPES, *known}))
    if measure == "training":
        of_training = {name: value for name, value in found.items() if name != "evaluated"}
        checked = Training.of_settings(of_training)
        if checked.protocol == "paper" and not found.get("evaluated", True):
            raise ArgumentError("`evaluated` must be True for the protocol 'paper', which chooses by the test error;"
                                " got False. Pass the protocol 'clean'.")
    return found


def _count(name: str, value: Any) -> int:
    return whole_number(name, value, 1)


def _names(name: str, value: Any) -> list[str]:
    """Return a list also of a single name, as values of a grid are."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(entry, str) for entry in names):
        raise DtypeError(f"`{name}` must be a name or a list of names; got {value!r}. In a grid, put a list of names"
                         " into a list.")
    return list(names)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise DtypeError(f"`{name}` must be True or False; got {value!r}. Leave it out for the default.")
    return value


def _among(valid: Any, *, several: bool = False) -> Check:
    """Return the check of a name, or of a list of them."""

    def check(name: str, value: Any) -> Any:
        entries = value if several and isinstance(value, (list, tuple)) and value else [value]
        for entry in entries:
            if not isinstance(entry, str) or entry not in valid:
                raise UnknownNameError(name, entry, valid)
        return value

    return check


def _any(name: str, value: Any) -> Any:
    return value  # checked with the others, by Training


SETTINGS: dict[str, dict[str, Check]] = {
    "spectra": {"segments": _among(KINDS, several=True), "num_images": _count, "accuracy": _among(ACCURACIES)},
    "theory": {"num_images": _count},
    "layers": {},
    "scores": {},
    "training": {**dict.fromkeys(_OF_TRAINING, _any), "augmentation": _names, "evaluated": _flag},
    "patterns": {"layers": _names},
    "sample": {"layers": _names, "num_points": _count},
}
