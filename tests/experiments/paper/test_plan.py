"""How much of a figure is computed, and what its user may change."""

import pytest

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.paper.plan import Plan

RECIPE = {"network": "mlp-7-tanh", "method": "snip", "sparsity": 0.9, "seed": 2, "repair": "paper-sgd",
          "repair_steps": None}


@pytest.mark.parametrize("runs", [0, -1, 1.5, True, "3"])
def test_runs_must_be_a_positive_whole_number(runs):
    with pytest.raises(ArgumentError, match=r"`runs` must be a whole number from 1 on; got .*\. Pass 1 for a"):
        Plan(runs)


def test_runs_are_those_asked_for_else_the_published_else_one_in_the_quick_form():
    assert list(Plan(3).seeds(10)) == [0, 1, 2] == list(Plan(3, quick=True).seeds(10))
    assert len(Plan().seeds(10)) == 10 and len(Plan(quick=True).seeds(10)) == 1


@pytest.mark.parametrize("name", ["repair_stepz", "seed", "network", "sparsity"])
def test_what_a_figure_is_about_cannot_be_changed(name):
    with pytest.raises(UnknownNameError, match=f"`changes` must be one of .*got '{name}'"):
        Plan(changes={name: 1})


def test_a_change_reaches_the_cells_that_have_a_use_for_it():
    plan = Plan(changes={"repair_steps": 7, "num_images": 9})
    changed = plan.cell("spectra", RECIPE, {"num_images": 500}, panel="tanh")
    assert changed.cell.settings["repair_steps"] == 7 and changed.cell.settings["num_images"] == 9
    assert changed.labels == {"panel": "tanh", "run": 2}
    plain = {name: value for name, value in RECIPE.items() if not name.startswith("repair")}
    for measure in ("layers", "training"):
        settings = plan.cell(measure, plain).cell.settings
        assert settings == Plan().cell(measure, plain).cell.settings and "num_images" not in settings


def test_other_data_replace_those_of_every_cell():
    cell = Plan(changes={"data": "digits"}).cell("layers", {"network": "mlp-7-tanh"}).cell
    assert cell.settings["data"] == "digits"
