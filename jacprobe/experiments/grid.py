"""Cells of all combinations of settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.measures import MEASURES
from jacprobe.experiments.measures.settings import own_settings
from jacprobe.experiments.recipe import Recipe
from jacprobe.experiments.sweeping import Cell


def grid_cells(grid: Mapping[str, Any], *, measure: str = "spectra", seeds: int | None = None) -> list[Cell]:
    """Return a cell for each combination of the values in `grid`, the last setting changing first.

    Settings of a `Recipe` that have their default value do not tell cells apart, whether they are given or not.

    Parameters
    ----------
    grid
        For each setting of a `Recipe` or of the measure a value, or a list of values.
    measure
        A name of `MEASURES`.
    seeds
        Number of runs: the setting "seed" takes the values 0, ..., `seeds` - 1, changing first of all.

    Raises
    ------
    UnknownNameError
        There is no such measure or setting, or a setting names something that is not there.
    ArgumentError
        A setting has no values, its values do not go with others, or `seeds` is no positive number.

    Examples
    --------
    >>> cells = grid_cells({"method": "snip", "sparsity": [0.5, 0.9]}, seeds=2)
    >>> [(cell.settings["sparsity"], cell.settings["seed"]) for cell in cells]
    [(0.5, 0), (0.5, 1), (0.9, 0), (0.9, 1)]
    """
    if measure not in MEASURES:
        raise UnknownNameError("measure", measure, MEASURES)
    values = {name: _values(name, given) for name, given in grid.items()}
    if seeds is not None:
        values |= {"seed": _seeds(seeds, values)}
    combinations = (dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values()))
    return list(dict.fromkeys(_cell(measure, settings) for settings in combinations))


def _cell(measure: str, settings: Mapping[str, Any]) -> Cell:
    own = own_settings(measure, settings)
    return Cell(measure, {**Recipe.of(settings).settings(), **own})


def _values(name: str, given: Any) -> list[Any]:
    """Return the values of one setting."""
    if isinstance(given, (np.ndarray, np.generic)):
        given = given.tolist()
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not values:
        raise ArgumentError(f"`{name}` must have at least one value; got none. Leave it out for its default.")
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _seeds(seeds: int, values: Mapping[str, Any]) -> list[int]:
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ArgumentError(f"`seeds` must be a number of runs; got {seeds!r}. Pass 1 or more.")
    if "seed" in values:
        raise ArgumentError(f"`seeds` must be left out with the setting seed; got {seeds}. Give one of them.")
    return list(range(seeds))
