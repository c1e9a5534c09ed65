"""``jacprobe compare``: model files and saved results beside each other."""

import dataclasses
import json
import os
import sys

import pandas as pd
import pytest
import torch
from made_up import exact, missing, one_of_each

import jacprobe as jp
from jacprobe.cli import tables
from jacprobe.results import SpectrumSet


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a dense model, its pruned copy, the saved result of a third and the same of another network."""
    folder = tmp_path_factory.mktemp("models")
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), "orthogonal", seed=0)
    masks = jp.prune(net, "magnitude", sparsity=0.5)
    jp.save_model(net, folder / "dense.pt")
    jp.save_model(masks.apply(net), folder / "pruned.pt")
    images = jp.load_data("digits", num=4).images
    jp.spectra(jp.initialize(net, "orthogonal", seed=1), images).save(folder / "third.npz")
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), folder / "other.pt")
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(models, in_an_empty_folder, tmp_path):
    for path in models.iterdir():
        (tmp_path / path.name).symlink_to(path)


_FEW = ("--data", "digits", "--num-inputs", 4)


def refused(outcome, *words: str, status: int = 1) -> None:
    assert (outcome.status, outcome.out) == (status, "")
    assert len(outcome.err.splitlines()) == 1, outcome.err
    for word in words:
        assert word in outcome.err


# what it shows


def test_the_table_shows_what_python_computes_for_models_and_saved_results(run):
    outcome = run("compare", "dense.pt", "pruned.pt", "third.npz", *_FEW)
    images = jp.load_data("digits", num=4).images
    dense, pruned = (jp.spectra(jp.load_model(name), images) for name in ("dense.pt", "pruned.pt"))
    third = SpectrumSet.load("third.npz")
    title, groups, header, *lines = outcome.out.splitlines()
    assert title == "dense | pruned (sparsity 50 %) | third: 4 inputs from digits (train)"
    assert groups.replace("│", "").split() == ["dense", "pruned", "third"]
    assert header.split("│")[1].split() == ["mean", "cond", "within", "0.1", "LDI"]
    for a, b, c in zip(dense, pruned, third, strict=True):
        (line,) = [line for line in lines if line.split()[:1] == [a.segment]]
        names, *cells = [part.split() for part in line.split("│")]
        assert names[1] == f"{a.out_dim}x{a.in_dim}"
        assert [part[0] for part in cells] == [f"{s.mean:.3g}" for s in (a, b, c)]
        assert cells[1][1] == f"{b.mean - a.mean:+.3g}"
    assert "\nΔ is the difference from dense.\n" in outcome.out
    assert "\nAll values are exact: " in outcome.out
    assert "\npruned: Layerwise dynamical isometry (every value within 0.1 of 1): no, it holds in" in outcome.out


def test_json_is_one_document_and_files_hold_the_same_numbers(run, tmp_path):
    outcome = run("compare", "dense.pt", "pruned.pt", *_FEW, "--json", "--output", "out.csv", "--plot", "out.png")
    document = json.loads(outcome.out)
    assert document["names"] == ["dense", "pruned"]
    assert document["models"]["pruned"]["model"]["file"] == "pruned.pt"
    assert document["models"]["dense"]["provenance"]["data"] == "digits"
    rows = pd.read_csv("out.csv").set_index(["segment", "model"])
    for segment in document["segments"]:
        wanted = segment["models"]["pruned"]["delta_mean"]
        assert rows.loc[(segment["segment"], "pruned"), "delta_mean"] == pytest.approx(wanted, rel=1e-12)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert run("compare", "dense.pt", "pruned.pt", *_FEW, "--output", "out.json").status == 0
    assert json.loads((tmp_path / "out.json").read_text())["segments"][0]["segment"] == "fc1"


def test_labels_absences_notes_and_other_inputs_are_told(run):
    one_of_each().save("all.npz")
    facts = {"num_inputs": 7, "data": "digits"}
    spectra = exact("fc1"), exact("new", note="a note"), missing("fc2", "layer")
    dataclasses.replace(SpectrumSet(spectra), provenance=facts).save("few.parquet")
    dataclasses.replace(SpectrumSet((exact("fc1"),)), provenance={**facts, "num_inputs": 9}).save("more.npz")
    out = run("compare", "few.parquet", "all.npz", "more.npz").out
    (line,) = [line for line in out.splitlines() if line.startswith("conv1")]
    assert line.split("│")[1].split() == ["absent"]
    assert line.split("│")[2].split()[-1] == "estimated"
    assert "\nOnly few has new.\n" in out and "\nOnly few and all have fc2.\n" in out
    assert "\nfew: fc2 has no spectrum: never called in the forward pass.\n" in out
    assert "\nmore was probed on other inputs: num inputs 9 where few has 7.\n" in out
    assert "\nfew: new: a note.\n" in out
    assert "\nWhere it says bounded, the values lie in the ranges shown" in out


def test_files_of_one_name_have_names_of_their_own(run, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        SpectrumSet((exact("fc1", ((1.0, 0.5),)),)).save(tmp_path / folder / "net.npz")
    names = [json.loads(run("compare", *files, "--json").out)["names"]
             for files in (["a/net.npz", "b/net.npz"], ["a/net.npz", "a/net.npz"], ["third.npz", "a/net.npz"])]
    assert names == [["a/net.npz", "b/net.npz"], ["net", "net (2)"], ["third", "net"]]
    SpectrumSet((exact("fc1", ((1.0, 0.5),)),)).save(tmp_path / "third (2).npz")
    outcome = run("compare", "third.npz", "third.npz", "third (2).npz", "--json")
    assert json.loads(outcome.out)["names"] == ["third", "third (2)", "third (2) (2)"]


def test_options_reach_the_probe_and_one_epsilon_judges_all(run):
    document = json.loads(run("compare", "dense.pt", "third.npz", *_FEW, "--accuracy", "reference", "--epsilon", 0.5,
                              "--json").out)
    assert document["models"]["dense"]["provenance"]["dtype"] == "float64"
    assert document["epsilon"] == 0.5
    assert all(model["provenance"]["epsilon"] == 0.5 for model in document["models"].values())


def test_the_network_that_is_named_takes_the_weights_of_files_without_one(run):
    deep = jp.initialize(jp.build("mlp-5-tanh", input_shape=(1, 8, 8)), "orthogonal", seed=0)
    torch.save(deep.state_dict(), "weights.pt")
    document = json.loads(run("compare", "dense.pt", "weights.pt", "--model", "mlp-5-tanh", *_FEW, "--json").out)
    assert [model["model"]["name"] for model in document["models"].values()] == ["mlp-3-tanh", "mlp-5-tanh"]
    assert document["remarks"] == ["Only weights has fc4, fc5."]


def test_a_narrow_terminal_loses_whole_columns_and_says_which(run, monkeypatch):
    table = jp.compare({"a": SpectrumSet.load("third.npz"), "b": one_of_each()}).texts(("mean", "std", "cond"))
    whole = [tables._line_width(table), tables._line_width(table.drop(columns="cond", level=1))]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(tables, "_width", lambda: whole[1])
    assert tables.print_groups("title", table, optional=("cond", "std")) == ["cond"]
    monkeypatch.setattr(tables, "_width", lambda: 10)
    assert tables.print_groups("title", table, optional=("cond", "std")) == ["cond", "std"]  # and nothing is cut
    out = run("compare", "third.npz", "dense.pt", *_FEW).out
    assert "Not shown, for the width of the terminal: cond, zeros, LDI, Δ mean." in out
    assert "Δ is the difference" not in out


def test_names_that_look_like_markup_are_shown_as_they_are(run, tmp_path):
    SpectrumSet((exact("fc1"),)).save(tmp_path / "[bold]net.npz")
    out = run("compare", "[bold]net.npz", "third.npz").out
    assert out.count("[bold]net") >= 3


# refusals: one line, nothing written


def test_models_without_a_common_layer_are_refused_with_both_lists(run, tmp_path):
    outcome = run("compare", "dense.pt", "other.pt", "--data", "digits", "--output", "out.csv", "--plot", "out.png")
    refused(outcome, "`FILES` must have layers of the same name", "'dense' with fc1, fc2, fc3, end_to_end",
            "'other' with 1, end_to_end")
    assert not list(tmp_path.glob("out.*"))


def test_wrong_files_are_refused_by_name(run, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK")
    SpectrumSet(()).save("empty.npz")
    SpectrumSet((exact("fc1", ((1.0, float("nan")),)),)).save("nan.npz")
    dataclasses.replace(SpectrumSet.load("third.npz"), epsilon=0.2).save("wide.npz")
    refused(run("compare", "third.npz", "bad.npz"), "bad.npz", "whole file written by SpectrumSet.save")
    refused(run("compare", "third.npz", "missing.npz"), "`missing.npz` must be a file; there is none")
    refused(run("compare", "dense.pt", "missing.pt", *_FEW), "missing.pt")
    refused(run("compare", "third.npz", "empty.npz"), "got an empty set for 'empty'")
    refused(run("compare", "third.npz", "nan.npz"), "got NaN or infinite ones in 'fc1' of 'nan'")
    refused(run("compare", "third.npz", "wide.npz"), "`--epsilon` must be one for all sets; they have 0.1, 0.2")
    refused(run("compare", "third.npz", "third.npz", "--data", "digits"), "`--data` must be left out", "'digits'")
    refused(run("compare", "third.npz", "third.npz", "--model", "lenet-5"), "`model` must be left out", "'lenet-5'")
    refused(run("compare", "third.npz", "third.npz", "--probe-seed", 3), "probe-seed` must be left out", "3")
    refused(run("compare", "dense.pt"), "at least two files; got 1", status=2)
    refused(run("compare", *["third.npz"] * 11, "--plot", "out.png"), "at most 10 files; got 11", status=2)


def test_a_file_name_that_is_no_text_is_refused(run, tmp_path):
    SpectrumSet((exact("fc1", ((1.0, 0.5),)),)).save(tmp_path / "net.npz")
    strange = tmp_path / os.fsdecode(b"net\xff.npz")
    (tmp_path / "net.npz").rename(strange)
    refused(run("compare", "third.npz", strange.name, "--output", "out.csv"), "`FILES` must have names that are text")
    assert not list(tmp_path.glob("out.*"))


def test_wrong_outputs_are_refused_before_any_work(run, tmp_path):
    (tmp_path / "there.csv").write_text("precious")
    files = "missing.pt", "third.npz"
    refused(run("compare", *files, "--output", "out.npz"), "--output must end in .csv, .json", status=2)
    refused(run("compare", *files, "--plot", "out.gif"), "--plot must end in .png, .pdf, .svg", status=2)
    refused(run("compare", *files, "--output", "there.csv"), "must not exist yet")
    refused(run("compare", *files, "--plot", "nowhere/out.png"), "existing folder")
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_a_figure_that_cannot_be_drawn_leaves_no_table_behind(run, tmp_path):
    SpectrumSet((exact("fc", kind="module"),)).save("module.npz")
    refused(run("compare", "module.npz", "module.npz", "--plot", "out.png", "--output", "out.csv"), "must hold layers")
    assert not list(tmp_path.glob("out.*"))
