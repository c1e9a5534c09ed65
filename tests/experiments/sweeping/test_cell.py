"""A cell is its measure and its settings, however they are written down."""

import hashlib
import pickle

import pytest

from jacprobe.errors import ArgumentError
from jacprobe.experiments import Cell

SETTINGS = {"network": "mlp-7-tanh", "sparsity": 0.9, "gamma": None, "seed": 3}


def test_the_digest_is_that_of_the_canonical_text():
    text = '{"measure":"spectra","settings":{"gamma":null,"network":"mlp-7-tanh","seed":3,"sparsity":0.9}}'
    cell = Cell("spectra", SETTINGS)
    assert cell.text == text
    assert cell.digest == hashlib.sha256(text.encode()).hexdigest()[:20]


def test_the_order_of_the_settings_does_not_matter_and_their_values_do():
    cell, other = Cell("spectra", SETTINGS), Cell("spectra", dict(reversed(SETTINGS.items())))
    assert cell == other and hash(cell) == hash(other) and cell.digest == other.digest
    others = [Cell("scores", SETTINGS), Cell("spectra", {**SETTINGS, "seed": 4}), Cell("spectra", {})]
    assert len({cell, other, *others}) == 4
    assert cell != "spectra"


def test_a_cell_survives_pickle():
    cell = Cell("spectra", SETTINGS)
    copied = pickle.loads(pickle.dumps(cell))
    assert copied == cell and dict(copied.settings) == SETTINGS


def test_settings_are_a_copy_that_cannot_be_changed():
    given = dict(SETTINGS)
    cell = Cell("spectra", given)
    given["seed"] = 5
    assert cell.settings["seed"] == 3
    with pytest.raises(TypeError):
        cell.settings["seed"] = 5


def test_nested_settings_become_columns_named_by_a_dot_and_lists_become_tuples():
    settings = {"training": {"rate": 0.1, "drops": {"every": 9}}, "layers": [1, [2, 3]], "none": {}, "maps": [{"a": 1}]}
    assert Cell("m", settings).columns == {"measure": "m", "training.rate": 0.1, "training.drops.every": 9,
                                           "layers": (1, (2, 3)), "none": "{}", "maps": ('{"a": 1}',)}


def test_a_cell_shows_its_settings_in_one_line():
    assert repr(Cell("spectra", {"seed": 3, "training": {"rate": 0.1}})) == "Cell(spectra: seed 3, training.rate 0.1)"


@pytest.mark.parametrize(
    ("measure", "settings", "message"),
    [
        (3, {}, "`measure` must be a name; got 3"),
        ("", {}, "`measure` must be a name; got ''"),
        ("spectra", [1], r"`settings` must be a mapping of names to values; got \[1\]"),
        ("spectra", {"x": float("nan")}, "`settings` must hold what JSON can hold"),
        ("spectra", {"x": object()}, "`settings` must hold what JSON can hold"),
    ],
    ids=["a number as the measure", "no measure", "a list of settings", "nan", "an object"],
)
def test_what_cannot_be_written_down_is_refused(measure, settings, message):
    with pytest.raises(ArgumentError, match=message):
        Cell(measure, settings)
