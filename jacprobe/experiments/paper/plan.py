"""How much of a figure or table is computed: runs, the quick form, and settings that its user changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.measures.settings import SETTINGS, own_settings
from jacprobe.experiments.recipe import Recipe
from jacprobe.experiments.sweeping import Cell


@dataclass(frozen=True)
class Labelled:
    """A cell and what its rows are called in the figure: the panel, the curve, the place on the x axis, the run."""

    cell: Cell
    labels: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much to compute.

    Attributes
    ----------
    runs
        Number of runs, from seed 0 on; None for as many as published, or one in the quick form.
    quick
        Whether to compute a small version: fewer grid points, images and iterations.
    changes
        Settings by name that replace those of every cell that has them, such as ``{"repair_steps": 3000}``; "data",
        after which nothing can be compared with what is published, those of all.
    training
        Whether networks are trained; without it, only what is known before is computed.
    only_found
        Whether nothing is computed, and the results that are there make the figure: a look at a long run.
    """

    runs: int | None = None
    quick: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    training: bool = True
    only_found: bool = False

    def __post_init__(self) -> None:
        if self.runs is not None and (isinstance(self.runs, bool) or not isinstance(self.runs, int) or self.runs < 1):
            raise ArgumentError(f"`runs` must be a whole number from 1 on; got {self.runs!r}. Pass 1 for a first look.")
        known = {field.name for field in fields(Recipe)} | {name for names in SETTINGS.values() for name in names}
        for name in self.changes:
            if name not in known - {"seed", "network", "sparsity"}:
                raise UnknownNameError("changes", name, sorted(known - {"seed", "network", "sparsity"}))

    def seeds(self, published: int) -> range:
        """Return the seeds of the runs, where the paper has `published` of them."""
        return range(self.runs or (1 if self.quick else published))

    def either(self, full: Any, quick: Any) -> Any:
        """Return the setting of the full or of the quick form."""
        return quick if self.quick else full

    def cell(self, measure: str, recipe: Mapping[str, Any], settings: Mapping[str, Any] | None = None,
             **labels: Any) -> Labelled:
        """Return the cell of a recipe and further settings, with the changes that it has a use for."""
        changed = {name: value for name, value in self.changes.items() if name in recipe or name == "data"}
        chosen = Recipe(**{**recipe, **changed})
        asked = {name: value for name, value in self.changes.items() if name in SETTINGS[measure]}
        own = own_settings(measure, {**(settings or {}), **asked})
        return Labelled(Cell(measure, chosen.settings() | own), {**labels, "run": chosen.seed})
