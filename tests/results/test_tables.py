"""Tables, frames and texts of sets of spectra."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import bounded, estimated, exact, missing, one_of_each, only_moments
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.results import SpectrumSet
from jacprobe.results.glance import between

DESIGNED = ["segment", "kind", "out_dim", "in_dim", "num_inputs", "mean", "std", "min", "max", "cond", "ldi", "zeros",
            "method", "label", "floor", "seconds", "reason"]


def _spectrum(name="fc", kind="layer", **fields):
    return exact(name, kind=kind, **{"zeros": torch.tensor([0, 1]), **fields})


def _set(*spectra):
    return SpectrumSet(spectra or (_spectrum(), _spectrum("fc", "module"), _spectrum("end_to_end", "end_to_end"),
                                   missing()), 0.1, {"name": "net"}, {"dtype": "float32"})


def _strict(document):
    return json.loads(document, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_summary_begins_with_the_designed_columns_one_row_per_segment():
    table = _set().summary()
    assert list(table.columns)[: len(DESIGNED)] == DESIGNED
    assert list(table["segment"]) == ["fc", "fc", "end_to_end", "gone"]
    assert table["zeros"].tolist()[:3] == [1, 1, 1]
    assert table["zeros"].isna().tolist() == [False] * 3 + [True]
    assert table.loc[0, "ldi"] == pytest.approx(2 / 6)
    assert table.loc[3, "reason"] == "never called in the forward pass"
    assert table["reason"].isna().sum() == 3


def test_the_summary_of_no_segments_has_the_same_columns():
    assert list(_set().select("pair").summary().columns) == list(_set().summary().columns)


def test_the_frame_is_tidy():
    frame = _set().frame()
    assert list(frame.columns) == ["segment", "kind", "input", "index", "value", "zero"]
    assert len(frame) == 3 * 2 * 3
    last = frame[(frame["kind"] == "layer") & (frame["input"] == 1)]
    assert last["value"].tolist() == [3.0, 0.95, 0.0]
    assert last["index"].tolist() == [0, 1, 2]
    assert last["zero"].tolist() == [False, False, True]
    assert pd.api.types.is_float_dtype(frame["value"])
    assert pd.api.types.is_bool_dtype(frame["zero"])


def test_the_frame_of_no_values_is_empty_with_the_same_columns():
    for empty in (_set().select("pair"), _set(missing())):
        assert list(empty.frame().columns) == list(_set().frame().columns)
        assert len(empty.frame()) == 0


def test_a_name_finds_the_layer_first():
    spectra = _spectrum("fc", "cumulative"), _spectrum("fc", "module"), _spectrum("fc", "layer")
    assert _set(*spectra)["fc"].kind == "layer"
    assert _set(*spectra[:2])["fc"].kind == "module"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"must be one of fc, end_to_end, gone; got 'fcc'. Did you mean 'fc'"):
        _set()["fcc"]


def test_selection_keeps_kinds_and_order():
    result = _set()
    assert [s.kind for s in result.select("end_to_end", "layer")] == ["layer", "end_to_end"]
    assert result.select("layer").epsilon == result.epsilon
    assert (result.layers, len(result), result.end_to_end.kind) == (["fc"], 4, "end_to_end")
    with pytest.raises(UnknownNameError, match=r"`kinds` must be one of layer, module, .*got 'layers'"):
        result.select("layers")


def test_isometry_is_unknown_without_the_spectrum_of_a_layer():
    with pytest.raises(ArgumentError, match="`is_isometric` must know the spectrum of every layer; 'fc' has none"):
        assert _set(missing("fc", "layer")).is_isometric
    with pytest.raises(ArgumentError, match=r"there is no layer. Probe kind='layers'"):
        assert _set(_spectrum(kind="module")).is_isometric


def test_json_is_strict_and_holds_the_rows():
    document = _strict(_set().to_json())
    assert set(document) == {"model", "segments", "provenance"}
    rows = document["segments"]
    assert list(rows[0])[: len(DESIGNED)] == DESIGNED
    assert rows[0]["cond"] is None
    assert rows[3]["mean"] is None
    assert rows[0]["max"] == 3.0
    assert document["provenance"]["epsilon"] == 0.1


def test_json_of_a_real_result_is_strict():
    result = jp.spectra(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)),
                        -seeded_normal(2, 3).abs(), kind=("layers", "modules", "end_to_end"))
    _strict(result.to_json())


def test_texts_for_people_name_every_segment_and_reason():
    text = repr(_set())
    assert text.startswith("SpectrumSet of 4 segments, epsilon 0.1\n")
    assert "never called in the forward pass" in text
    assert "end_to_end" in text
    assert repr(_set().select("pair")).endswith("(no segments)")
    assert "3x4: 2 inputs, mean 1.25" in repr(_spectrum())


def test_a_value_under_the_floor_is_shown_as_a_bound():
    row = _set(_spectrum(rows=((2.0, 1e-9),), zeros=0)).table().iloc[0]
    assert row["min"] == "< 1.0e-06"
    assert row["cond"] == "> 2.0e+06"


def test_html_escapes_names():
    html = _set(_spectrum("<script>alert(1)</script>"))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<table" in html


# rows that are not exact


def test_every_row_of_a_mixed_set_has_its_label_and_only_what_it_knows():
    table = one_of_each().summary().set_index("segment")
    assert table["label"].tolist() == ["exact", "exact", "estimated", "estimated", "bounded", "bounded", "estimated",
                                       "none", "exact"]
    known = table[["mean", "max", "mean_square", "mean_low", "max_low", "standard_error"]].notna()
    assert known.loc["fc1"].tolist() == [True, True, True, True, True, False]
    assert known.loc["conv1"].tolist() == [True, True, True, False, True, True]
    assert known.loc["conv3"].tolist() == [False, False, False, True, True, False]
    assert known.loc["conv4"].tolist() == [False, True, False, False, True, False]
    assert known.loc["conv5"].tolist() == [False, False, True, False, False, False]
    assert not known.loc["gone"].any()


def test_the_summary_holds_intervals_errors_scalars_and_provenance():
    table = one_of_each().summary().set_index("segment")
    assert table.loc["conv4", ["max_low", "max_high", "confidence", "num_values"]].tolist() == [1.5, 1.6, 0.99, 2]
    assert table.loc["conv1", ["num_probes", "num_steps", "seed", "confidence"]].tolist() == [2, 3, 7, 0.99]
    assert table.loc["conv5", ["num_probes", "seed"]].tolist() == [10, 3]
    assert math.isnan(table.loc["fc1", "confidence"])
    assert table.loc["conv5", "mean_square_standard_error"] > 0
    assert table.loc["fc2", ["gradient_ratio", "dead_units", "cosine_in", "cosine_out"]].tolist() == [0.5, 0.25, 0.1,
                                                                                                      0.2]
    assert table.loc["fc2", "relative_floor"] == 1e-9
    assert table.loc["conv1", "note"] == "too large"
    assert table["zeros"].isna().tolist() == [False] * 4 + [True, False, True, True, False]
    assert {"relative_std", "stable_rank", "effective_rank", "participation", "log_det", "log_det_nonzero",
            "relative_variance"} < set(table.columns)


def test_the_columns_of_the_summary_are_explained():
    text = SpectrumSet.summary.__doc__
    listed = ("mean_square to log_det_nonzero", "gradient_ratio to cosine_out")
    assert all(words in text for words in listed)
    columns = list(one_of_each().summary().columns)
    for words in listed:
        first, last = words.split(" to ")
        columns = columns[: columns.index(first)] + columns[columns.index(last) + 1 :]
    endings = ("_low", "_high", "_standard_error")
    unexplained = [name for name in columns if name not in text and not name.endswith(endings)]
    assert unexplained == []


def test_null_in_json_is_told_apart():
    rows = {row["segment"]: row for row in _strict(one_of_each().to_json())["segments"]}
    assert rows["fc1"]["cond"] is None
    assert rows["fc1"]["cond_is_infinite"] is True
    assert rows["fc2"]["cond_is_infinite"] is True  # a value of exactly 0, though no structural zero
    assert rows["conv2"]["cond"] is None
    assert rows["conv2"]["cond_is_infinite"] is None
    assert rows["conv4"]["cond_is_infinite"] is True
    finite = _strict(_set(exact(rows=((2.0, 1.0),))).to_json())["segments"][0]
    assert (finite["cond"], finite["cond_is_infinite"]) == (2.0, False)
    assert rows["fc1"]["log_det"] is None
    assert rows["fc1"]["zeros"] == 1


def test_the_frame_has_only_singular_values():
    frame = one_of_each().frame()
    assert frame["segment"].unique().tolist() == ["fc1", "fc2", "conv4", "end_to_end"]
    assert frame[frame["segment"] == "conv4"]["value"].tolist() == [1.5, 1.2]
    assert not frame[frame["segment"] == "conv4"]["zero"].any()  # its zeros lie behind


def test_nodes_and_bounds_have_frames_of_their_own():
    result = one_of_each()
    nodes = result.nodes_frame()
    assert list(nodes.columns) == ["segment", "kind", "input", "probe", "node", "weight"]
    weights = nodes.groupby(["segment", "input", "probe"])["weight"].sum()
    np.testing.assert_allclose(weights, 1)
    assert len(weights) == 2 * 2 + 1
    assert len(nodes) == 2 * (3 + 2) + 3  # padding has no row
    bounds = result.bounds_frame()
    assert list(bounds.columns) == ["segment", "kind", "input", "index", "lower", "upper"]
    assert bounds[bounds["segment"] == "conv4"][["lower", "upper"]].to_numpy().tolist() == [[1.5, 1.6], [1.2, 1.4]]
    for frame in (_set().nodes_frame(), _set().bounds_frame()):
        assert len(frame) == 0
    assert list(_set().nodes_frame().columns) == list(nodes.columns)


def test_no_text_looks_more_certain_than_its_number():
    result = one_of_each()
    table, conv1 = result.table().set_index("segment"), result["conv1"]
    assert table.loc["conv1", "mean"] == f"{conv1.mean:.3g} ± {conv1.standard_error('mean'):.1g}"
    assert table.loc["conv1", "min"] == "0"
    assert table.loc["conv1", "max"] == ">= 1.5"
    assert table.loc["conv2", "mean"].startswith("0.917 ± ")
    assert table.loc["conv2", "min"] == "<= 0.5"
    assert table.loc["conv2", "cond"] == ""
    assert table.loc["conv2", "within 0.1"].startswith("~ 50 %")
    assert table.loc["conv3", "mean"] == "0.8 to 1.14"
    assert table.loc["conv3", "max"] == "1.5 to 2"
    assert table.loc["conv3", "zeros"] == ""
    assert table.loc["conv4", ["mean", "std", "min", "max", "cond"]].tolist() == ["", "", "0", "1.5 to 1.6", "inf"]
    assert table.loc["conv5", ["mean", "mean square", "rel. variance"]].tolist() == ["", "2 ± 0.2", "1 ± 0.2"]
    assert table.loc["fc2", "floor"] == "1.0e-09 rel."
    assert table.columns[-1] == "label"
    assert "mean square" not in _set().table()


@pytest.mark.parametrize(("low", "high"), [(0.123456, 0.98765), (1.9999, 2.0001), (1e-9, 12345.6), (0.1, 0.1)])
def test_intervals_are_rounded_outwards(low, high):
    text = between(low, high)
    ends = [float(part) for part in text.split(" to ")]
    assert ends[0] <= low <= high <= ends[-1]
    assert float(between(low, math.nan).removeprefix(">= ")) <= low
    assert float(between(0, high).removeprefix("<= ")) >= high


def test_a_set_says_what_leaves_its_isometry_open():
    near = exact(rows=((1.05, 0.95),))
    unsure = estimated("unsure", nodes=[[[1.0, 0.0]]], counts=[[[10_000, 0]]])
    with pytest.raises(ArgumentError, match="'unsure' is only estimated. Probe it with method='exact' or more memory"):
        assert _set(near, unsure).is_isometric
    with pytest.raises(ArgumentError, match="'few' is only bounded"):
        assert _set(near, bounded("few", [[1.0]], [[1.05]], dim=3)).is_isometric
    with pytest.raises(ArgumentError, match="'conv' is only estimated"):
        assert _set(only_moments()).is_isometric
    assert not dataclasses.replace(_set(near, unsure), epsilon=0.01).is_isometric
