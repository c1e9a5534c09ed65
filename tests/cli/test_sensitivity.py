import json

import numpy as np
import pandas as pd
import pytest
import torch

import jacprobe as jp
from jacprobe.plotting import sensitivity_data


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.pt"
    jp.save_model(jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), "orthogonal", seed=0), path)
    return path


@pytest.fixture
def scores(model_file):
    return jp.scores(jp.load_model(model_file), "snip", data=jp.load_data("digits"))


def test_the_table_shows_what_python_computes(run, model_file, scores):
    outcome = run("sensitivity", model_file, "--data", "digits")
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "model.pt: snip on 1437 inputs from digits (train)"
    assert lines[1].split() == ["parameter", "shape", "share", "zeros", "mean", "q05", "q25", "median", "q75", "q95",
                                "max"]
    for row in sensitivity_data(scores).to_dict("records"):
        (line,) = [line for line in lines if line.split()[:1] == [row["parameter"]]]
        assert line.split()[1:6] == [row["shape"], f"{100 * row['share']:.2f}", "%", f"{100 * row['zeros']:.2f}", "%"]
        assert line.split()[-1] == f"{row['max']:.3g}"


def test_a_sparsity_shows_what_is_kept(run, model_file, scores):
    document = json.loads(run("sensitivity", model_file, "--data", "digits", "--sparsity", 0.9, "--json").out)
    masks = jp.prune(jp.load_model(model_file), "snip", sparsity=0.9, data=jp.load_data("digits"))
    assert [row["kept"] for row in document["parameters"]] == pytest.approx(
        [1 - share for share in masks.layer_sparsity().values()])
    assert "kept" in run("sensitivity", model_file, "--data", "digits", "--sparsity", 0.9).out.splitlines()[1].split()


def test_json_is_one_document_without_unknown_numbers(run, model_file):
    document = json.loads(run("sensitivity", model_file, "--data", "digits", "--num-inputs", 10, "--prunable", "paper",
                              "--loss", "uniform", "--argument", "temperature=2", "--json").out)
    assert set(document) == {"model", "parameters", "provenance"}
    assert [row["parameter"] for row in document["parameters"]] == [f"fc{i}.{k}" for i in (1, 2, 3)
                                                                    for k in ("weight", "bias")]
    assert sum(row["share"] for row in document["parameters"]) == pytest.approx(1)
    assert {row["kept"] for row in document["parameters"]} == {None}
    assert document["provenance"]["arguments"] == {"loss": "uniform", "temperature": 2}
    assert document["provenance"]["data"] == "10 inputs from digits (train)"


def test_a_method_that_needs_no_data_runs_without(run, model_file):
    outcome = run("sensitivity", model_file, "--method", "magnitude", "--protect", "fc2")
    assert outcome.out.splitlines()[0] == "model.pt: magnitude"
    assert [line.split()[0] for line in outcome.out.splitlines()[2:]] == ["fc1.weight", "fc3.weight"]


def test_zeros_alone_are_told(run, tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8))
    torch.nn.init.zeros_(net.fc1.weight)
    jp.save_model(net, tmp_path / "zeros.pt")
    out = run("sensitivity", "zeros.pt", "--method", "magnitude", "--prunable", "fc1.weight").out
    assert out.splitlines()[-1] == "All scores are zero."


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_all_scores_are_written_whole(run, model_file, scores, suffix):
    assert run("sensitivity", model_file, "--data", "digits", "--output", f"scores{suffix}").status == 0
    if suffix == ".npz":
        with np.load("scores.npz") as archive:
            found = dict(archive)
    else:
        table = pd.read_parquet("scores.parquet")
        found = {name: part.sort_values("index")["score"].to_numpy().reshape(scores[name].shape)
                 for name, part in table.groupby("parameter", observed=True)}
    assert found.keys() == scores.keys()
    assert all(np.allclose(found[name], score, rtol=1e-6) for name, score in scores.items())


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_the_table_is_written(run, model_file, tmp_path, scores, suffix):
    assert run("sensitivity", model_file, "--data", "digits", "--output", f"table{suffix}").status == 0
    if suffix == ".csv":
        rows = pd.read_csv("table.csv").to_dict("records")
    else:
        rows = json.loads((tmp_path / "table.json").read_text())["parameters"]
    assert [row["mean"] for row in rows] == pytest.approx(sensitivity_data(scores)["mean"].tolist(), rel=1e-6)


@pytest.mark.parametrize("sparsities", [[], ["--sparsity", 0.9], ["--sparsity", 0.5, "--sparsity", 0.9]],
                         ids=["scores alone", "one sparsity", "two sparsities"])
def test_plot_is_a_picture(run, model_file, tmp_path, sparsities):
    assert run("sensitivity", model_file, "--data", "digits", *sparsities, "--plot", "s.png").status == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_leaves_no_table_behind(run, model_file, tmp_path, monkeypatch):
    monkeypatch.setattr(jp, "plot_sensitivity", undrawable)
    refused(run("sensitivity", model_file, "--method", "magnitude", "--plot", "out.png", "--output", "out.csv"), "thin")
    assert not list(tmp_path.glob("out.*"))


def undrawable(*arguments, **settings):
    raise jp.errors.ArgumentError("`scores` must be thin.")


def refused(outcome, *words: str, status: int = 1) -> None:
    assert (outcome.status, outcome.out) == (status, "")
    assert len(outcome.err.splitlines()) == 1, outcome.err
    for word in words:
        assert word in outcome.err


def test_refusals_are_one_line(run, model_file, tmp_path):
    refused(run("sensitivity", model_file), "`--data` must be given for 'snip'")
    refused(run("sensitivity", model_file, "--method", "magnitude", "--sparsity", 2), "`--sparsity` must lie in [0, 1]")
    refused(run("sensitivity", model_file, "--method", "nothing"), "`--method` must be one of random")
    refused(run("sensitivity", model_file, "--device", "tpu"), "`--device` must be one of cpu")
    refused(run("sensitivity", model_file, "--output", "s.txt"), "--output must end in .parquet, .npz, .csv", status=2)
    refused(run("sensitivity", model_file, "--plot", "s.txt"), "--plot must end in .png, .pdf, .svg", status=2)
    (tmp_path / "s.png").write_text("")
    refused(run("sensitivity", model_file, "--method", "magnitude", "--plot", "s.png"), "must not exist yet")
