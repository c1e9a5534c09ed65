"""All combinations of settings, each once, refused before any work."""

import numpy as np
import pytest

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.experiments.grid import grid_cells


def test_the_cells_are_all_combinations_in_order():
    grid = {"network": ["mlp-3-tanh", "mlp-7-tanh"], "method": "snip", "sparsity": [0.5, 0.9]}
    found = [tuple(cell.settings[name] for name in ("network", "sparsity", "seed"))
             for cell in grid_cells(grid, seeds=2)]
    assert found == [(network, sparsity, seed) for network in grid["network"] for sparsity in (0.5, 0.9)
                     for seed in (0, 1)]
    assert {cell.measure for cell in grid_cells(grid)} == {"spectra"}


def test_a_default_that_is_given_makes_no_other_cell():
    (plain,) = grid_cells({"method": "snip", "sparsity": 0.9})
    (given,) = grid_cells({"sparsity": [0.9], "method": ["snip"], "score_loss": "labels", "repair": None, "seed": 0})
    assert plain == given and plain.digest == given.digest


def test_combinations_that_are_the_same_cell_count_once():
    assert len(grid_cells({"seed": [0, 1, 0]})) == 2


def test_arrays_of_numpy_are_values_too():
    grid = {"method": "snip", "sparsity": np.array([0.25, 0.5]), "seed": np.arange(2)}
    assert grid_cells(grid) == grid_cells({"method": "snip", "sparsity": [0.25, 0.5], "seed": [0, 1]})
    assert grid_cells({"seed": [np.int64(3)]}) == grid_cells({"seed": 3})


def test_settings_of_the_measure_are_part_of_the_cell():
    (cell,) = grid_cells({"num_images": 10})
    assert cell.settings["num_images"] == 10


def test_a_single_name_is_a_list_where_lists_are_wanted():
    (cell,) = grid_cells({"augmentation": "flip"}, measure="training")
    (same,) = grid_cells({"augmentation": [["flip"]]}, measure="training")
    assert cell == same and cell.settings["augmentation"] == ["flip"]


@pytest.mark.parametrize(
    ("measure", "settings", "error", "message"),
    [
        ("spectra", {"num_images": -1}, ArgumentError, "`num_images` must be a whole number of at least 1; got -1"),
        ("spectra", {"segments": "layer"}, UnknownNameError, "`segments` must be one of layers"),
        ("spectra", {"accuracy": "exact"}, UnknownNameError, "`accuracy` must be one of fast"),
        ("sample", {"num_points": "ten"}, ArgumentError, "`num_points` must be a whole number"),
        ("patterns", {"layers": 3}, DtypeError, "`layers` must be a name or a list of names; got 3"),
        ("training", {"rate": -1}, ArgumentError, "`rate` must be a finite number above 0; got -1"),
        ("training", {"augmentation": "mirror"}, UnknownNameError, "`augmentation` must be one of flip"),
        ("training", {"evaluated": 3}, DtypeError, "`evaluated` must be True or False; got 3"),
        ("training", {"evaluated": False, "protocol": "paper"}, ArgumentError, "`evaluated` must be True for the"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_of_the_measure_is_refused(measure, settings, error, message):
    with pytest.raises(error, match=message):
        grid_cells(settings, measure=measure)


@pytest.mark.parametrize(
    ("grid", "options", "error", "message"),
    [
        ({}, {"measure": "spectrum"}, UnknownNameError, "`measure` must be .*got 'spectrum'. Did you mean 'spectra'"),
        ({"netwrok": "mlp-7-tanh"}, {}, UnknownNameError, "got 'netwrok'. Did you mean 'network'"),
        ({"network": "mlp-9"}, {}, UnknownNameError, "`network` must be one of .*; got 'mlp-9'"),
        ({"sparsity": []}, {}, ArgumentError, "`sparsity` must have at least one value; got none"),
        ({"method": [None, "snip"], "sparsity": 0.9}, {}, ArgumentError, "`method` must be given with `sparsity`"),
        ({}, {"seeds": 0}, ArgumentError, "`seeds` must be a number of runs; got 0"),
        ({"seed": 1}, {"seeds": 2}, ArgumentError, "`seeds` must be left out with the setting seed; got 2"),
    ],
    ids=["a measure", "a setting", "a network", "no values", "a sparsity of a dense network", "no seeds", "both seeds"],
)
def test_what_cannot_be_measured_is_refused(grid, options, error, message):
    with pytest.raises(error, match=message):
        grid_cells(grid, **options)
