"""What ``jacprobe spectrum`` says of numbers that are not exact, and how it asks for them."""

import dataclasses
import json

import pandas as pd
import pytest
from made_up import bounded, estimated, exact, missing, one_of_each, only_moments

import jacprobe as jp
from jacprobe.cli.options import naming_options
from jacprobe.errors import JacprobeError, UnknownNameError
from jacprobe.results import SpectrumSet
from jacprobe.results.sentences import accuracy_note, remarks, verdict

UNSURE = estimated("unsure", nodes=[[[1.0, 0.0]]], counts=[[[10_000, 0]]])
NEAR, FAR = exact("near", rows=((1.05, 0.95),)), exact("far", rows=((1.05, 0.8),))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Stand in for the probe: keep what it is asked and return a spectrum of every label."""
    jp.save_model(jp.build("mlp-3-tanh", input_shape=(1, 2, 2)), tmp_path / "model.pt")
    calls = []

    def spectra(model, inputs, **arguments):
        calls.append(arguments)
        return dataclasses.replace(one_of_each(), provenance={"num_inputs": len(inputs)})

    monkeypatch.setattr(jp, "spectra", spectra)
    return calls


# what is asked


def test_options_of_the_method_are_passed_on(run, asked):
    status = run("spectrum", "model.pt", "--method", "density", "--num-values", 4, "--num-probes", 5, "--num-steps", 20,
                 "--probe-seed", 3, "--memory", "2GiB", "--accuracy", "relative").status
    assert status == 0
    expected = {"method": "density", "num_values": 4, "num_probes": 5, "num_steps": 20, "seed": 3, "memory": "2GiB",
                "accuracy": "relative"}
    assert {key: asked[0][key] for key in expected} == expected


def test_what_is_not_asked_is_left_to_the_library(run, asked):
    assert run("spectrum", "model.pt", "--seed", 1).status == 0
    assert asked[0].keys() == {"kind", "segments", "accuracy", "epsilon", "device", "dtype", "work"}


# what is shown


def test_every_row_of_the_table_has_its_label_and_no_bare_estimate(run, asked):
    out = run("spectrum", "model.pt").out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for spectrum in one_of_each().spectra[:7]:
        assert lines[spectrum.segment].split()[-1] == spectrum.label
    assert "±" in lines["conv1"]
    assert "1.5 to 2" in lines["conv3"]
    assert "2 ± 0.2" in lines["conv5"]
    assert "kind" not in lines["segment"]


def test_a_column_that_no_row_fills_is_left_out(run, asked, monkeypatch):
    one = dataclasses.replace(SpectrumSet((only_moments(),)), provenance={"num_inputs": 2})
    monkeypatch.setattr(jp, "spectra", lambda *_, **__: one)
    (header,) = [line for line in run("spectrum", "model.pt").out.splitlines() if line.startswith("segment")]
    assert header.split() == ["segment", "shape", "mean", "square", "rel.", "variance", "label"]


def test_notes_stand_once_each_below_the_table_with_their_segments(run, asked):
    out = run("spectrum", "model.pt").out
    assert "\nconv1, conv2: too large.\n" in out
    assert "\nfc1: it fits.\n" in out
    assert "\ngone has no spectrum: never called in the forward pass.\n" in out


def test_many_segments_of_one_note_are_counted():
    result = SpectrumSet(tuple(exact(f"fc{i}", note="It fits.") for i in range(7)))
    assert remarks(result) == ["fc0, fc1, fc2, fc3 and 3 more: It fits."]


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".json", ".csv"])
def test_outputs_keep_the_labels(run, asked, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    assert run("spectrum", "model.pt", "--output", path).status == 0
    if suffix == ".json":
        labels = [row["label"] for row in json.loads(path.read_text())["segments"]]
    elif suffix == ".csv":
        labels = pd.read_csv(path, keep_default_na=False)["label"].tolist()
    else:
        labels = [spectrum.label for spectrum in jp.SpectrumSet.load(path)]
    assert labels == [spectrum.label for spectrum in one_of_each()]


def test_a_figure_of_every_label_can_be_drawn(run, asked, tmp_path):
    assert run("spectrum", "model.pt", "--plot", "layers.png").status == 0
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


# the closing sentences


def test_only_exact_rows_are_called_exact():
    assert accuracy_note(SpectrumSet((NEAR, FAR))) == ("All values are exact: none is off by more than the floor of its"
                                                       " segment, at most 1.0e-06.")
    lines = accuracy_note(one_of_each()).split("\n")
    assert [line.split()[3].rstrip(":,") for line in lines] == ["exact", "bounded", "estimated"]
    assert "relative error of small and large values alike is at most 1.0e-09" in lines[0]
    assert "with probability 99 %" in lines[1]
    assert "over 1 to 10 random probes per input (seed 3, 7)" in lines[2]
    assert accuracy_note(SpectrumSet((missing(),))) == "No segment has a spectrum."


def test_rigorous_bounds_need_no_probability():
    assert accuracy_note(SpectrumSet((bounded(),))) == "Where it says bounded, the values lie in the ranges shown."


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((NEAR,), "yes, in all 1 layers."),
        ((NEAR, FAR), "no, it holds in 1 of 2 layers; least in far (50.0 % within)."),
        ((NEAR, UNSURE), "not known, it holds in 1 of 2 layers, 1 is only bounded or estimated."),
        ((UNSURE, missing("gone", "layer")), "not known, it holds in 0 of 2 layers, 1 is only bounded or estimated,"
                                             " the rest have no spectrum."),
        ((NEAR, only_moments("m"), UNSURE), "1 of 3 layers, 2 are only bounded or estimated."),
        ((NEAR, estimated("far", nodes=[[[2.0, 0.0]]], counts=[[[10_000, 0]]])),
         "no (with probability 99 %), it holds in 1 of 2 layers; least in far (about 0.0 % within)."),
        ((NEAR, UNSURE, FAR), "it holds in 1 of 2 layers (1 more are not decided); least in far (50.0 % within)."),
        ((bounded("far", [[0.5, 0.4]], [[0.7, 0.6]], dim=2),),
         "no, it holds in 0 of 1 layers; least in far (at most 0.0 % within)."),
        ((bounded("ends", [[1.05, 0.95]], [[1.08, 0.97]], dim=2, confidence=0.99),),
         "yes, in all 1 layers, in each with probability 99 %."),
        ((exact(kind="module"),), "not judged, no layer was probed."),
    ],
)
def test_the_verdict_claims_no_more_than_is_known(layers, words):
    assert verdict(SpectrumSet(layers)).endswith(words)


# messages


def test_messages_name_options_in_place_of_arguments():
    with pytest.raises(JacprobeError, match="^`--num-values` must be at least 1; got 0. See `fc1`.$"), naming_options():
        raise JacprobeError("`num_values` must be at least 1; got 0. See `fc1`.")
    with pytest.raises(JacprobeError, match="`--method` must be one of auto, svd; got 'sdv'. Did"), naming_options():
        raise UnknownNameError("method", "sdv", ["auto", "svd"])


def test_other_messages_and_errors_stay_as_they_are():
    with pytest.raises(UnknownNameError, match="`model` must be one of"), naming_options():
        raise UnknownNameError("model", "a", ["b"])
    with pytest.raises(KeyError), naming_options():
        raise KeyError("num")
