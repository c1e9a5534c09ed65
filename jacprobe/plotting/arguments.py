"""Arguments that figures have in common, checked once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real

import pandas as pd
from matplotlib.colors import is_color_like

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError
from jacprobe.results import Spectrum, SpectrumSet

ManySets = SpectrumSet | Mapping[str, SpectrumSet]
MOST_SETS = 10  # that colours and markers tell apart


def check_positive(value: float, name: str) -> float:
    """Return `value` as a float after checking that it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ArgumentError(f"`{name}` must be a finite number above 0; got {value!r}. Choose a positive one.")
    return float(value)


def check_whole(value: int, name: str, least: int, example: int) -> int:
    """Return `value` after checking that it is a whole number, `least` or more; `example` is a good one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ArgumentError(f"`{name}` must be a whole number of at least {least}; got {value!r}. Try {example}.")
    return int(value)


def check_color(color: object) -> object:
    """Return `color` after checking that matplotlib knows it, or is to choose one (None)."""
    if color is not None and not is_color_like(color):
        raise ArgumentError(f"`color` must be a matplotlib color; got {color!r}. Give a name such as 'tab:blue'.")
    return color


def check_num_sets(num_sets: int, name: str) -> None:
    """Check that the argument called `name` holds no more sets than can be told apart."""
    if num_sets > MOST_SETS:
        raise ArgumentError(f"`{name}` must hold at most {MOST_SETS} sets; got {num_sets}. Plot fewer at once.")


def check_wanted(wanted: str | Iterable[str], name: str, example: str) -> list[str]:
    """Return the names of the panels of a figure, of which there must be one."""
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if not names:
        raise ArgumentError(f"`{name}` must name at least one; got none. Name {example!r}.")
    return names


def check_log(log: bool | None, values: pd.Series, *, natural: bool, where: str = "") -> bool:
    """Return whether an axis is logarithmic: as asked, or `natural`, but never with negative values."""
    lowest = float(values.min())
    if log and lowest < 0:
        raise ArgumentError(f"`log` must be False where values are negative; got {lowest:g}{where}. Leave it out.")
    return natural and not lowest < 0 if log is None else bool(log)


def check_epsilon(epsilon: float | None, results: Mapping[str, SpectrumSet]) -> float:
    """Return `epsilon`, or that which all sets have, checked."""
    if epsilon is None:
        found = {result.epsilon for result in results.values()}
        if len(found) > 1:
            texts = ", ".join(f"{value:g}" for value in sorted(found))
            raise ArgumentError(f"`epsilon` must be one for all sets; they have {texts}. Pass `epsilon`.")
        epsilon = found.pop()
    return check_positive(epsilon, "epsilon")


def check_sets(results: object, name: str, *, with_layers: bool = False) -> dict[str, SpectrumSet]:
    """Return `results`, called `name` in messages, as sets of finite values by name; one set alone is named ""."""
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if not named:
        raise ArgumentError(f"`{name}` must hold at least one SpectrumSet; got an empty mapping. Probe a model first.")
    for key, result in named.items():
        where = f" for {key!r}" if isinstance(results, Mapping) else ""
        if not isinstance(result, SpectrumSet):
            got = f"{type(result).__name__}{where}"
            raise DtypeError(f"`{name}` must hold SpectrumSets; got {got}. Probe a model first.")
        if with_layers and not result.layers:
            kinds = ", ".join(dict.fromkeys(s.kind for s in result)) or "an empty set"
            raise ArgumentError(f"`{name}` must hold layers; got {kinds}{where}. Probe with kind='layers'.")
        for spectrum in result:
            check_finite(spectrum, name)
    return {str(key): result for key, result in named.items()}


def check_one_set(result: object, plot: str) -> SpectrumSet:
    """Return `result` after checking that it is one set with layers; the function `plot` takes several."""
    if isinstance(result, Mapping):
        raise DtypeError(f"`result` must be one SpectrumSet; got a mapping. Use `{plot}` for several.")
    return check_sets(result, "result", with_layers=True)[""]


def check_finite(spectrum: Spectrum, name: str) -> None:
    """Check that there are values where there is a spectrum, and that all of them are finite."""
    s = spectrum
    parts = [s.values, *(s.bounds or ()), None if s.density is None else s.density.nodes]
    parts = [part for part in parts if part is not None]
    if parts and not any(part.numel() for part in parts):
        raise ArgumentError(f"`{name}` must hold singular values; {s.segment!r} has none of {s.num_inputs} inputs."
                            " Probe it with at least one input.")
    if bad := sum(int((~part.isfinite()).sum()) for part in parts):
        raise NonFiniteError(f"`{name}` must hold finite singular values; {s.segment!r} has {bad} NaN or infinite."
                             " Check the model and the inputs.")
