"""Every figure and table: its cells are those of the paper, and what is published passes for measured."""

import math
from collections import Counter

import pandas as pd
import pytest

from jacprobe.experiments.paper.plan import Plan
from jacprobe.experiments.paper.registry import FIGURES, TABLES
from jacprobe.experiments.paper.verdicts import DIFFERS, MATCH, MISSING, entry_table
from jacprobe.experiments.published import published_curves, published_table

ITEMS = [*FIGURES.values(), *TABLES.values()]
EACH = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)


def test_all_figures_and_tables_of_the_paper_are_there():
    assert list(FIGURES) == ["1", "2a", "2b", "3", "4", "5", "6", "7", "8", "beyond"]
    assert list(TABLES) == ["1", "2", "3", "4", "5", "6"]


@EACH
@pytest.mark.parametrize("quick", [False, True])
def test_a_cell_is_measured_once_and_has_a_place_of_its_own(item, quick):
    cells = item.cells(Plan(2, quick))
    places = Counter((cell.cell.measure, *sorted(cell.labels.items(), key=str)) for cell in cells)
    assert places and max(places.values()) == 1
    assert {cell.labels["run"] for cell in cells} == {0, 1}
    assert all({"panel", "run"} <= cell.labels.keys() for cell in cells)


@pytest.mark.parametrize("name", ["2b", "4", "5", "7"])
def test_curves_of_training_are_of_plain_descent_and_tables_are_not(name):
    curves = [cell.cell.settings for cell in FIGURES[name].cells(Plan(1)) if cell.cell.measure == "training"]
    assert curves and {(settings["momentum"], settings["l2"]) for settings in curves} == {(0.0, 0.0)}
    before = [settings for settings in curves if "pretraining" in settings]
    assert all((settings["pretraining_momentum"], settings["pretraining_l2"]) == (0.0, 0.0) for settings in before)
    for table in ("1", "4", "5"):
        trained = [cell.cell.settings for cell in TABLES[table].cells(Plan(1)) if cell.cell.measure == "training"]
        assert trained and all(settings["momentum"] == 0.9 and "l2" not in settings for settings in trained)


def test_small_values_of_saturating_networks_are_found_to_relative_accuracy():
    cells = [cell.cell.settings for cell in TABLES["1"].cells(Plan(1)) if cell.cell.measure == "spectra"]
    found = {settings["gamma"]: settings.get("accuracy") for settings in cells}
    assert found == {0.0001: None, 0.001: None, 0.01: None, 0.1: "relative", 1.0: "relative", 10.0: "relative"}


@EACH
def test_the_quick_form_is_a_small_part(item):
    full, quick = item.cells(Plan()), item.cells(Plan(quick=True))
    assert len(quick) < len(full)
    trained = [cell.cell.settings["iterations"] for cell in quick if cell.cell.measure == "training"]
    assert max(trained, default=0) <= 3_000


@EACH
def test_nothing_measured_is_said_to_be_nothing(item):
    plan = Plan()
    table = entry_table(item.entries({}, plan))
    assert set(table["verdict"]) <= {MISSING}
    assert {claim.holds for claim in item.claims({}, plan)} <= {None}


def as_measured(item, errors, **others):
    """Return rows that a perfect reproduction would give: the published errors, and what else is given."""
    rows = [{**cell.labels, "final_error": errors(cell.labels), "diverged": math.nan} for cell in item.cells(Plan(1))
            if cell.cell.measure == "training"]
    return {"training": pd.DataFrame(rows), **others}


@pytest.mark.parametrize("name", ["3", "4", "5"])
def test_published_errors_match_themselves_and_all_claims_hold(name):
    table, item = published_table(name), TABLES[name]
    rows = as_measured(item, lambda labels: table.loc[labels["curve"], labels["panel"]])
    entries = entry_table(item.entries(rows, Plan(1)))
    assert len(entries) == table.size and set(entries["verdict"]) == {MATCH}
    assert all(claim.holds for claim in item.claims(rows, Plan(1)))
    worse = as_measured(item, lambda labels: table.loc[labels["curve"], labels["panel"]] + 0.5)
    assert set(entry_table(item.entries(worse, Plan(1)))["verdict"]) == {DIFFERS}
    assert item.draw(rows, Plan(1)).axes


def test_table_2_matches_itself():
    table, item = published_table("2"), TABLES["2"]

    def line(labels):
        name = next(name for name in table.index if name.startswith(labels["panel"]) and name.endswith(
            f" {labels['curve']}"))
        return table.loc[name]

    layers = pd.DataFrame([{**cell.labels, "orthogonality_score": line(cell.labels)["score"]}
                           for cell in item.cells(Plan(1)) if cell.cell.measure == "layers"])
    rows = as_measured(item, lambda labels: line(labels)["error"], layers=layers)
    counts = entry_table(item.entries(rows, Plan(1)))["verdict"].value_counts().to_dict()
    assert counts == {MATCH: 40, "not comparable": 10}  # of the network that has other data here
    assert all(claim.holds for claim in item.claims(rows, Plan(1)))
    assert item.draw(rows, Plan(1)).axes


def test_table_6_and_figure_3_match_themselves():
    table = published_table("6")
    for item in (TABLES["6"], FIGURES["3"]):
        layers = pd.DataFrame([{**cell.labels, "num_prunable": table.loc[cell.labels["curve"], "parameters"]}
                               for cell in item.cells(Plan(1)) if cell.cell.measure == "layers"])
        rows = as_measured(item, lambda labels: table.loc[labels["curve"], "error"], layers=layers)
        entries = entry_table(item.entries(rows, Plan(1)))
        assert len(entries) == 27 and set(entries["verdict"]) == {MATCH}
        assert [claim.holds for claim in item.claims(rows, Plan(1))] == [True]
        assert item.draw(rows, Plan(1)).axes
        assert item.draw({"layers": layers}, Plan(1)).axes  # without training: the published alone


def test_table_1_matches_itself():
    table, item = published_table("1"), TABLES["1"]
    spectra, layers = [], []
    for cell in item.cells(Plan(1)):
        line = table.loc[cell.labels["curve"]]
        if cell.cell.measure == "spectra":
            cond = math.inf if math.isnan(line["cond"]) else line["cond"]
            spectra.append({**cell.labels, "mean": line["mean"], "std": line["std"], "cond": cond})
        elif cell.cell.measure == "layers":
            layers += [{**cell.labels, "layer": name, "removed": line[name]} for name in table if name.startswith("fc")]
    rows = as_measured(item, lambda labels: table.loc[labels["curve"], "error"], spectra=pd.DataFrame(spectra),
                       layers=pd.DataFrame(layers))
    entries = entry_table(item.entries(rows, Plan(1)))
    assert len(entries) == 66 and set(entries["verdict"]) == {MATCH}
    assert [claim.holds for claim in item.claims(rows, Plan(1))] == [True]


def test_figure_2a_matches_itself_and_its_claims_hold_of_the_published_points():
    item, known = FIGURES["2a"], published_curves("2a")
    values = {(row.panel, row.curve, row.x): row.value for row in known.itertuples()}
    rows = {"spectra": pd.DataFrame([{**cell.labels, "mean": values[f"{cell.labels['panel']} mean",
                                                                   cell.labels["curve"], cell.labels["x"]]}
                                     for cell in item.cells(Plan(1))])}
    entries = entry_table(item.entries(rows, Plan(1)))
    assert len(entries) == 100 and set(entries["verdict"]) == {MATCH}
    assert all(claim.holds for claim in item.claims(rows, Plan(1)))


def test_the_networks_of_table_6_keep_what_the_reference_has():
    cells = [cell.cell.settings for cell in TABLES["6"].cells(Plan(1)) if cell.cell.measure == "training"]
    sizes = published_table("6")["parameters"]
    kept = [(1 - settings.get("sparsity", 0.0)) * size for settings, size in zip(cells, sizes, strict=True)]
    assert kept == pytest.approx([269_034] * len(sizes))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["2a", "2b", "4", "5", "6", "7", "8", "beyond"])
def test_all_curves_are_drawn_in_their_panels(name, quick):
    item, plan = FIGURES[name], Plan(2, quick)
    values = dict.fromkeys(("mean", "std", "min", "max", "relative_std", "effective_rank"), 0.5)
    logged = [{"split": "batch", "iteration": i, "loss": 2.0 / i, "error": 50.0} for i in (2, 102)]
    rows = {"spectra": [values], "theory": [values], "training": logged, "layers": [{"small_share": 0.5, "kept": 9}]}
    found = {}
    for cell in item.cells(plan):
        found.setdefault(cell.cell.measure, []).extend({**row, **cell.labels} for row in rows[cell.cell.measure])
    found = {measure: pd.DataFrame(parts) for measure, parts in found.items()}
    drawn = item.draw(found, plan)
    assert all(ax.lines for ax in drawn.axes) and len(drawn.axes) >= 2
    assert item.entries(found, plan) and item.claims(found, plan)
