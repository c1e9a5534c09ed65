"""A figure computed: its cells once, its files whole, and one line for what goes wrong."""

import errno
import json
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError, DataError, OutputError, UnknownNameError
from jacprobe.experiments import paper_figure, paper_table
from jacprobe.experiments.paper import reproduction
from jacprobe.experiments.paper.item import Item
from jacprobe.experiments.paper.plan import Plan
from jacprobe.experiments.paper.reproduction import compute
from jacprobe.experiments.paper.verdicts import Claim, Tolerance, entry

SMALL = {"data": "digits", "num_images": 20, "repair_steps": 20}


def small_cells(plan):
    return [plan.cell("spectra", {"network": network, "data": data, "seed": seed}, {"num_images": 10},
                      panel="p", curve=data, x=0.0)
            for network, data in (("mlp-3-tanh", "digits"), ("mlp-3-relu", "mnist")) for seed in plan.seeds(2)]


def small_entries(rows, plan):
    found = rows.get("spectra", pd.DataFrame(columns=["curve", "mean"]))
    return [entry(name, found[found["curve"] == name]["mean"], 1.0, Tolerance(relative=0.5))
            for name in ("digits", "mnist")]


ITEM = Item("figure 0", "a small one", small_cells, small_entries,
            lambda rows, plan: [Claim("all is well", True, "a | b")], lambda rows, plan: Figure())
small = partial(compute, ITEM, backend="serial", progress=False)


def test_a_figure_of_real_networks_has_points_claims_rows_and_a_picture(tmp_path):
    given = {"quick": True, "changes": SMALL, "output": tmp_path, "backend": "serial", "progress": False}
    result = paper_figure("2a", **given)
    assert len(result.table) == 40 and set(result.table["verdict"]) == {"not comparable"}
    assert len(result.claims) == 22 and result.claims["holds"].notna().all() and len(result.failures) == 0
    assert {"panel", "curve", "x", "run", "mean", "std", "seed", "measure"} <= set(result.rows)
    assert result.settings["quick"] and result.settings["repair_steps"] == 20 and result.settings["computed"] == 40
    assert len(result.figure().axes) == 2
    row = result.rows.query("panel == 'linear' and curve == 'LDI-CS' and x == 60").iloc[0]
    assert row["mean"] == result.table.set_index("entry").loc["linear mean LDI-CS 60 %", "measured"]
    again = paper_figure("2a", overwrite=True, **given)
    assert (again.settings["computed"], again.settings["found"]) == (0, 40)
    pd.testing.assert_frame_equal(again.table, result.table)
    assert pd.read_parquet(tmp_path / "figure-2a-quick.parquet").shape == result.rows.shape
    assert pd.read_csv(tmp_path / "figure-2a-quick.csv").shape == result.table.shape
    more = paper_figure("2a", runs=2, overwrite=True, **given)
    assert (more.settings["computed"], more.settings["found"]) == (40, 40)
    assert (more.table["runs"] == 2).all() and np.isfinite(more.table["error"]).all()


def test_without_a_folder_nothing_is_written_and_the_result_still_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = paper_figure(1, quick=True, changes={"data": "digits"}, backend="serial", progress=False)
    assert result.files == () and list(tmp_path.iterdir()) == [] and result.figure().axes


def test_what_has_no_data_is_left_out_and_named(tmp_path):
    result = small(Plan(), tmp_path / "out", data_root=str(tmp_path))
    assert result.table["verdict"].tolist()[1] == "not measured" and result.table["runs"].tolist() == [2, 0]
    (failure,) = result.failures["error"]
    assert "must hold mnist" in failure and str(tmp_path) in failure
    assert "1 not measured" in result.verdict and result.verdict.endswith("1 failures")


def test_without_any_data_nothing_is_tried(tmp_path):
    with pytest.raises(DataError, match="must hold mnist"):
        small(Plan(changes={"data": "mnist"}), tmp_path / "out", data_root=str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_backend_is_checked_before_the_data_are_looked_for(tmp_path):
    with pytest.raises(UnknownNameError, match="`backend` must be one of serial"):
        compute(ITEM, Plan(changes={"data": "mnist"}), tmp_path / "out", data_root=str(tmp_path), backend="desk")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"jobs": 0}, ArgumentError, "`jobs` must be a number of processes; got 0"),
        ({"device": "tpu"}, UnknownNameError, "`device` must be one of cpu"),
        ({"data_root": "nowhere"}, DataError, "must hold mnist"),
        ({"only_found": True}, DataError, "must be the facts of a sweep"),
    ],
    ids=["jobs", "a device", "no data", "no results"],
)
def test_what_is_refused_leaves_no_folder(tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        paper_figure(1, quick=True, output="out", changes={"data": "mnist"}, progress=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_fails_is_tried_again_and_the_rest_stays(tmp_path, monkeypatch):
    plan, real = Plan(changes={"data": "digits"}), reproduction.measure_cell

    def measure(cell, scratch, **options):
        if cell.settings["seed"] == 1:
            raise ValueError("no luck")
        return real(cell, scratch, **options)

    monkeypatch.setattr(reproduction, "measure_cell", measure)
    result = small(plan, tmp_path)
    assert (result.settings["computed"], len(result.failures)) == (2, 2)
    monkeypatch.setattr(reproduction, "measure_cell", real)
    result = small(plan, tmp_path)
    assert (result.settings["computed"], result.settings["found"], len(result.failures)) == (2, 2, 0)


def test_other_settings_have_other_cells_in_the_same_folder(tmp_path):
    small(Plan(1, changes={"data": "digits"}), tmp_path)
    result = small(Plan(1, changes={"data": "digits", "num_images": 5}), tmp_path)
    assert (result.settings["computed"], result.settings["found"]) == (2, 0)
    assert set(result.rows["num_inputs"]) == {5}


def test_results_that_are_there_make_the_figure_without_data_or_work(tmp_path):
    first = small(Plan(1, changes={"data": "digits"}), tmp_path)
    plan = Plan(5, changes={"data": "digits"}, only_found=True)
    found = small(plan, tmp_path, data_root=str(tmp_path / "nowhere"))
    assert (found.settings["computed"], found.settings["found"], found.settings["runs"]) == (0, 2, 1)
    pd.testing.assert_frame_equal(found.table, first.table)
    with pytest.raises(ArgumentError, match="`only_found` must be left out where there is no result of figure 0"):
        small(Plan(1, changes={"num_images": 3}, only_found=True), tmp_path)
    with pytest.raises(DataError, match="must be the facts of a sweep"):
        small(Plan(1, only_found=True), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_version_is_refused(tmp_path):
    small(Plan(1, changes={"data": "digits"}), tmp_path)
    facts = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**facts, "jacprobe": "0.0.1"}))
    with pytest.raises(ArgumentError, match=r"has jacprobe version '0\.0\.1', not .* Choose another folder"):
        small(Plan(1, changes={"data": "digits"}), tmp_path)


def test_a_result_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    result = small(Plan(1, changes={"data": "digits"}), tmp_path / "results")
    written = result.write(tmp_path)
    assert [path.name for path in written.files] == [f"figure-0{end}" for end in
                                                     (".pdf", ".png", ".md", ".csv", ".parquet")]
    page = (tmp_path / "figure-0.md").read_text()
    assert page.startswith("# Figure 0: a small one\n") and "| all is well | holds | a \\| b |" in page
    assert "| digits | " in page and "1 of 1 claims hold" in page.lower()
    with pytest.raises(OutputError, match="must not exist yet"):
        result.write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OutputError, match="No space left on device"):
        result.write(tmp_path, overwrite=True)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after.keys() == before.keys() and after["figure-0.csv"] == before["figure-0.csv"]


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    from jacprobe.experiments.sweeping import cellfile

    real, count = cellfile.write_frame, []

    def write(cell, frame, path):
        count.append(cell)
        if len(count) == 3:
            raise OutputError(f"`{path}` could not be written: No space left on device.")
        real(cell, frame, path)

    plan = Plan(changes={"data": "digits"})
    monkeypatch.setattr("jacprobe.experiments.sweeping.store.write_frame", write)
    with pytest.raises(OutputError, match="No space left on device"):
        small(plan, tmp_path)
    monkeypatch.undo()
    result = small(plan, tmp_path)
    assert (result.settings["computed"], result.settings["found"]) == (2, 2)


@pytest.mark.parametrize(
    ("compute_it", "error", "message"),
    [
        (lambda: paper_figure("9"), UnknownNameError, "`figure` must be one of 1, 2a"),
        (lambda: paper_table(7), UnknownNameError, "`table` must be one of 1, 2"),
        (lambda: paper_table("1", runs=0), ArgumentError, "`runs` must be a whole number"),
        (lambda: paper_table("3", training=False), ArgumentError, "`training` must be on for table 3"),
        (lambda: paper_figure("1", changes={"data": "digits"}, output="/dev/null"), OutputError,
         "`folder` must be a folder that can be written"),
    ],
    ids=["a figure", "a table", "no runs", "nothing left", "no folder"],
)
def test_what_cannot_be_computed_is_refused(compute_it, error, message):
    with pytest.raises(error, match=message):
        compute_it()


def test_without_training_the_rest_is_computed(tmp_path):
    result = paper_table("1", runs=1, quick=True, training=False, changes={"data": "digits", "num_images": 10},
                         backend="serial", progress=False)
    assert set(result.rows["measure"]) == {"spectra", "layers"} and result.settings["training"] is False
    assert (result.table["runs"] > 0).sum() == 60 and len(result.table) == 66


def test_a_result_shows_itself():
    frame = pd.DataFrame({"entry": ["<x>"], "measured": [0.12345], "error": [0.00123], "runs": [3],
                          "published": [1234.0], "tolerance": ["5 %"], "verdict": ["differs"]})
    result = reproduction.PaperResult("table 0", "t", frame, frame, pd.DataFrame(), {}, frame[:0], lambda: None)
    assert repr(result) == "PaperResult(table 0: 0 of 1 numbers match)"
    assert result.shown().iloc[0].tolist() == ["<x>", "0.1235 ± 0.0012", "3", "1234", "5 %", "differs"]
    assert "&lt;x&gt;" in result._repr_html_() and "0 of 1" in result._repr_html_()
