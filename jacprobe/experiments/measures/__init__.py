"""What a cell measures, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jacprobe.errors import UnknownNameError
from jacprobe.experiments.measures.layers import measure_layers, measure_patterns
from jacprobe.experiments.measures.learning import measure_training
from jacprobe.experiments.measures.sensitivities import measure_sample, measure_scores
from jacprobe.experiments.measures.settings import own_settings
from jacprobe.experiments.measures.values import measure_spectra, measure_theory
from jacprobe.experiments.networks import Place
from jacprobe.experiments.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from jacprobe.experiments.sweeping import Cell

Measure = Callable[[Recipe, Mapping[str, Any], Place], "pd.DataFrame"]
MEASURES: dict[str, Measure] = {
    "spectra": measure_spectra,
    "theory": measure_theory,
    "layers": measure_layers,
    "scores": measure_scores,
    "training": measure_training,
    "patterns": measure_patterns,
    "sample": measure_sample,
}


def measure_cell(cell: Cell, scratch: Path | None, *, data_root: str | None = None, device: str | None = None
                 ) -> pd.DataFrame:
    """Return the rows of a cell.

    Parameters
    ----------
    cell
        Its settings are those of a `Recipe`, and further ones of the measure.
    scratch
        Folder for checkpoints; None for none.
    data_root, device
        As in `jacprobe.load_data` and `jacprobe.spectra`.

    Raises
    ------
    UnknownNameError
        No such measure, or a setting that neither the recipe nor the measure knows.
    """
    if cell.measure not in MEASURES:
        raise UnknownNameError("measure", cell.measure, MEASURES)
    place = Place(data_root, device, scratch)
    return MEASURES[cell.measure](Recipe.of(cell.settings), own_settings(cell.measure, cell.settings), place)
