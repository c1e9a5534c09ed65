"""Sets of spectra beside each other: matching, differences and how certain they are, verdicts, texts."""

import dataclasses
import json
import math

import numpy as np
import pytest
from made_up import bounded, estimated, exact, missing, one_of_each, only_moments

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.results import Comparison, SpectrumSet
from jacprobe.results.deltas import STATISTICS, delta

DENSE = SpectrumSet((exact("fc1", ((1.0, 1.0, 0.75),)), exact("fc2", ((2.0, 1.0, 0.5),)),
                     exact("end_to_end", ((1.0, 0.5, 0.25),), kind="end_to_end")))
PRUNED = SpectrumSet((exact("fc1", ((1.0, 0.5, 0.0),), zeros=1), exact("fc2", ((1.05, 1.0, 0.95),)),
                      exact("end_to_end", ((0.5, 0.25, 0.0),), kind="end_to_end")))


def _numbers(spectrum):
    values = spectrum.values.numpy().ravel()
    return {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max(),
            "ldi": np.mean(np.abs(values - 1) <= 0.1), "mean_square": np.mean(values**2)}


# the table


def test_every_layer_has_a_row_and_every_model_a_group_with_its_own_summary():
    table = jp.compare({"dense": DENSE, "pruned": PRUNED}).table
    assert list(table.index) == ["fc1", "fc2", "end_to_end"]
    assert list(table.columns.get_level_values(0).unique()) == ["dense", "pruned"]
    for name, result in {"dense": DENSE, "pruned": PRUNED}.items():
        summary = result.summary().set_index("segment")
        for column in ("mean", "std", "min", "max", "cond", "ldi", "zeros", "label", "floor"):
            assert table[name][column].tolist() == summary[column].tolist(), column


def test_differences_from_the_first_are_those_of_numpy_and_the_first_has_none():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED})
    rows = comparison.frame().set_index(["model", "segment"])
    for before, after in zip(DENSE, PRUNED, strict=True):
        old, new = _numbers(before), _numbers(after)
        for name in STATISTICS:
            row = rows.loc[("pruned", after.segment)]
            assert row[f"delta_{name}"] == pytest.approx(new[name] - old[name], abs=1e-12)
            assert math.isnan(rows.loc[("dense", after.segment), f"delta_{name}"])
    assert "delta_mean" not in comparison.table["dense"]
    assert comparison.table["pruned"]["delta_label"].tolist() == ["exact"] * 3


def test_the_verdict_of_a_layer_and_of_a_model_is_that_of_its_spectra():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED})
    assert comparison.table["dense"]["isometric"].tolist() == [False, False, False]
    assert comparison.table["pruned"]["isometric"].tolist() == [False, True, False]
    assert comparison.verdicts == {"dense": False, "pruned": False}
    near = SpectrumSet((exact("fc1", ((1.05, 0.95),)),))
    unsure = SpectrumSet((estimated("fc1", nodes=[[[1.0, 0.0]]], counts=[[[10_000, 0]]]),))
    unknown = SpectrumSet((exact("fc1", ((1.0,),)), missing("fc2", "layer")))
    assert jp.compare({"a": near, "b": unsure, "c": unknown}).verdicts == {"a": True, "b": None, "c": None}


def test_one_epsilon_judges_all():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED}, epsilon=0.01)
    assert comparison.epsilon == 0.01
    assert comparison.table["pruned"]["isometric"].tolist() == [False] * 3
    assert comparison.sets[0].epsilon == 0.01 and DENSE.epsilon == 0.1
    assert "within 0.01" in comparison.texts()["pruned"]


def test_any_real_number_is_an_epsilon():
    assert jp.compare({"dense": DENSE, "pruned": PRUNED}, epsilon=np.float32(0.25)).epsilon == 0.25
    assert jp.compare({"dense": DENSE, "pruned": PRUNED}, epsilon=np.int64(1)).epsilon == 1.0


def test_texts_have_the_columns_that_were_asked_for_and_no_others():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED})
    assert list(comparison.texts("mean")["dense"]) == ["mean"]
    assert list(comparison.texts(["max", "mean"])["pruned"]) == ["max", "mean"]
    with pytest.raises(UnknownNameError, match="`columns` must be one of mean, .*; got 'maxx'. Did you mean 'max'"):
        comparison.texts(["mean", "maxx"])


def test_a_condition_number_that_is_not_known_is_no_text():
    zero = SpectrumSet((exact("fc1", ((0.0, 0.0, 0.0),), zeros=3),))
    tiny = SpectrumSet((exact("fc1", ((0.0, 0.0, 0.0),)),))
    for result in (zero, tiny):
        assert jp.compare({"dense": DENSE, "other": result}).texts()["dense"]["cond"].iloc[0] == "1.33"
        assert "nan" not in repr(jp.compare({"dense": DENSE, "other": result})) and "nan" not in repr(result)


def test_a_share_that_is_known_is_one_number():
    known = SpectrumSet((bounded("fc1", lower=[[1.5, 0.3]], upper=[[2.0, 0.4]], dim=2),))
    assert jp.compare({"a": known, "b": known}).texts()["a"]["within 0.1"].tolist() == ["0 %"]


# matching


def test_a_layer_that_some_models_lack_keeps_its_place_and_says_who_lacks_it():
    added = SpectrumSet((exact("fc1"), exact("new"), exact("fc2")))
    comparison = jp.compare({"dense": DENSE, "added": added})
    table = comparison.table
    assert list(table.index) == ["fc1", "new", "fc2", "end_to_end"]
    assert table.loc["new", ("dense", "reason")] == "dense has no layer of this name"
    assert table.loc["end_to_end", ("added", "reason")] == "added has no end to end of this name"
    assert table.loc["new", ("dense", "label")] == table.loc["new", ("added", "delta_label")] == "none"
    assert math.isnan(table.loc["new", ("added", "delta_mean")]) and table.loc["new", ("added", "mean")] == 1.25
    assert comparison.remarks == ("Only added has new.", "Only dense has end_to_end.")
    texts = comparison.texts().set_index(("", "segment"))
    assert texts.loc["new", ("dense", "mean")] == "absent"
    assert texts.loc["new", ("added", "mean")] == "1.25"


def test_segments_of_one_name_are_matched_by_kind():
    both = SpectrumSet((exact("fc", ((1.0,),)), exact("fc", ((3.0,),), kind="module")))
    modules = SpectrumSet((exact("fc", ((4.0,),), kind="module"),))
    comparison = jp.compare({"both": both, "modules": modules})
    assert comparison.segments == [("fc", "layer"), ("fc", "module")]
    assert comparison.table["modules"]["delta_mean"].tolist()[1] == 1.0
    assert comparison.texts()[""]["kind"].tolist() == ["layer", "module"]
    assert comparison.remarks[0] == "Only both has fc."


def test_a_reason_and_other_inputs_and_other_shapes_are_told():
    old = dataclasses.replace(SpectrumSet((exact("fc1"), missing("fc2", "layer"))),
                              provenance={"num_inputs": 2, "data": "digits", "seed": None})
    new = dataclasses.replace(SpectrumSet((exact("fc1", ((1.0, 0.5),)), exact("fc2"))),
                              provenance={"num_inputs": 5, "data": "digits", "split": "train", "seed": 3})
    comparison = jp.compare({"old": old, "new": new})
    assert comparison.remarks == ("old: fc2 has no spectrum: never called in the forward pass.",
                                  "new was probed on other inputs: seed 3 where old has None, num inputs 5 where old"
                                  " has 2.")
    assert comparison.texts()[""]["shape"].tolist() == ["3x4 / 2x3", "3x4"]


# certainty


def test_a_difference_is_as_uncertain_as_both_numbers():
    base, sure = exact("fc", floor=1e-3), exact("fc", ((1.0, 1.0, 1.0),), floor=1e-3)
    loose = bounded("fc", [[1.5, 0.9, 0.6]], [[2.0, 1.0, 0.9]])
    guess = estimated("fc", [[[1.5, 1.0, 0.5], [1.4, 1.0, 0.5]]], [[[1, 3, 2]] * 2])
    d = delta(sure, base, "mean", 0.1)
    assert (d.label, d.high - d.low) == ("exact", pytest.approx(4e-3 - 1e-3 / 6))  # one value of 0 cannot be less
    d = delta(loose, base, "mean", 0.1)
    assert (d.label, d.low, d.high) == ("bounded", pytest.approx(1 - base.mean_interval[1]),
                                        pytest.approx(1.3 - base.mean_interval[0]))
    assert math.isnan(d.value)
    d = delta(guess, base, "mean", 0.1)
    assert d.label == "estimated" and d.standard_error == pytest.approx(guess.standard_error("mean") + 1e-3)
    assert delta(guess, guess, "mean", 0.1).standard_error == 2 * guess.standard_error("mean")
    assert delta(missing("fc"), base, "mean", 0.1).label == "none"


def test_the_interval_of_every_exact_difference_holds_whatever_the_rounding():
    rng = np.random.default_rng(0)
    old, new = (exact("fc", np.sort(rng.random((4, 5)))[:, ::-1].copy() + 0.5, floor=0.02) for _ in range(2))
    for _ in range(200):
        moved = [exact("fc", s.values.numpy() + rng.uniform(-0.02, 0.02, (4, 5))) for s in (old, new)]
        truth = [_numbers(s) for s in moved]
        for name in ("mean", "std", "min", "max", "ldi"):
            d = delta(new, old, name, 0.1)
            assert d.low <= truth[1][name] - truth[0][name] <= d.high, name


def test_intervals_hold_with_the_probability_of_both():
    certain, likely = bounded("fc", confidence=1.0), bounded("fc", confidence=0.95)
    rows = jp.compare({name: SpectrumSet((s,)) for name, s in
                       {"exact": exact("fc"), "certain": certain, "likely": likely}.items()}).frame()
    assert rows["delta_confidence"].tolist()[1:] == [1.0, pytest.approx(0.95)]
    rows = jp.compare({"a": SpectrumSet((likely,)), "b": SpectrumSet((likely,))}).frame()
    assert rows["delta_confidence"].tolist()[1] == pytest.approx(0.9)


def test_no_text_of_a_difference_looks_more_certain_than_it_is():
    base = SpectrumSet((exact("a"), exact("b"), exact("c"), exact("d"), exact("e"), only_moments("f")))
    other = SpectrumSet((exact("a", ((2.0, 1.05, 0.4), (3.0, 0.95, 0.0))), exact("b"), bounded("c"), estimated("d"),
                         bounded("e", [[1.5]], [[1.6]]), only_moments("f", (2.0, 4.0))))
    texts = jp.compare({"base": base, "other": other}).texts()
    deltas = dict(zip(texts[""]["segment"], texts["other"]["Δ mean"], strict=True))
    assert deltas["a"] == "-0.0167"
    assert deltas["b"] == "< 1.9e-06"  # equal, as far as the floors tell
    assert deltas["c"] == "-0.451 to -0.116"
    assert deltas["d"].startswith("-0.333 ± ")
    assert deltas["e"] == ""
    assert texts["other"]["Δ mean square"].tolist()[-1].startswith("+1 ± ")
    assert texts["other"]["label"].tolist() == ["exact", "exact", "bounded", "estimated", "bounded", "estimated"]


def test_labels_are_left_out_of_the_texts_only_where_all_is_exact():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED})
    assert "label" not in comparison.texts()["dense"]
    assert list(comparison.texts(["mean", "label", "LDI"])["pruned"]) == ["mean", "LDI"]
    assert "zeros" in comparison.texts()["pruned"] and "zeros" not in comparison.texts()["dense"]
    assert comparison.texts()["pruned"]["LDI"].tolist() == ["no", "yes", ""]  # end to end is no layer


# texts and files


def test_json_is_strict_and_holds_rows_verdicts_and_provenance():
    comparison = jp.compare({"all": one_of_each(), "pruned": PRUNED})
    document = json.loads(comparison.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["names"] == ["all", "pruned"] and document["epsilon"] == 0.1
    assert document["models"]["all"] == {"model": {"name": "net"}, "isometric": False,
                                         "provenance": {"dtype": "float32", "epsilon": 0.1}}
    row = document["segments"][0]
    assert (row["segment"], row["kind"]) == ("fc1", "layer")
    assert row["models"]["pruned"]["delta_mean"] == pytest.approx(0.5 - 1.25)
    assert row["models"]["all"]["delta_mean"] is None and row["models"]["all"]["cond_is_infinite"] is True
    assert "Only all has" in document["remarks"][0]


def test_reprs_name_models_reasons_and_verdicts_and_html_escapes_them():
    comparison = jp.compare({"<b>dense</b>": DENSE, "pruned": SpectrumSet((exact("fc1"), missing("<i>", "layer")))})
    text = repr(comparison)
    assert "Δ from <b>dense</b>" in text and "<i> has no spectrum: never called" in text
    assert "pruned: layerwise dynamical isometry does not hold." in text
    page = comparison._repr_html_()
    assert "<b>" not in page and "<i>" not in page
    assert "&lt;b&gt;dense" in page and "&lt;i&gt; has no spectrum" in page


def test_the_value_is_frozen_and_gives_the_sets_back_by_name():
    comparison = jp.compare({"dense": DENSE, "pruned": PRUNED})
    assert isinstance(comparison, Comparison) and jp.Comparison is Comparison
    assert {name: result.spectra for name, result in comparison.results.items()} == {"dense": DENSE.spectra,
                                                                                     "pruned": PRUNED.spectra}
    with pytest.raises(dataclasses.FrozenInstanceError):
        comparison.names = ()


def test_the_columns_of_a_model_are_explained():
    columns = set(jp.compare({"a": DENSE, "b": PRUNED}).table["b"]) - set(DENSE.summary())
    assert all(name in Comparison.table.__doc__ for name in columns)


# refusals


@pytest.mark.parametrize(
    ("results", "error", "words"),
    [
        ([DENSE, PRUNED], DtypeError, "`results` must map names to SpectrumSets; got list"),
        ({"": DENSE, "b": PRUNED}, DtypeError, "got a name that is empty or no text"),
        ({1: DENSE, "b": PRUNED}, DtypeError, "got a name that is empty or no text"),
        ({"a": DENSE, "b": DENSE.spectra[0]}, DtypeError, "must hold SpectrumSets; got Spectrum for 'b'"),
        ({"a": DENSE, "b": SpectrumSet(())}, ArgumentError, "got an empty set for 'b'. Probe its layers"),
        ({"a": DENSE}, ArgumentError, "at least two sets; got 1"),
        ({}, ArgumentError, "at least two sets; got 0"),
        ({"a": DENSE, "b": SpectrumSet((exact("fc", ((1.0, math.nan),)),))}, NonFiniteError, "in 'fc' of 'b'"),
        ({"a": DENSE, "b": SpectrumSet((bounded("fc", upper=((math.inf, 1.0, 0.4),)),))}, NonFiniteError, "in 'fc'"),
        ({"a": DENSE, "b": dataclasses.replace(PRUNED, epsilon=0.2)}, ArgumentError, "they have 0.1, 0.2. Pass"),
    ],
    ids=["list", "empty name", "number as name", "spectrum", "empty set", "one set", "no set", "NaN", "infinity",
         "bands"],
)
def test_what_cannot_be_compared_is_refused(results, error, words):
    with pytest.raises(error, match=words):
        jp.compare(results)


def test_models_without_a_common_layer_are_refused_with_both_lists():
    other = SpectrumSet((*(exact(f"conv{i}") for i in range(25)), exact("end_to_end", kind="end_to_end")))
    with pytest.raises(ArgumentError, match=r"'a' with fc1, fc2, end_to_end and 'b' with conv0, conv1, .* and 6 more"):
        jp.compare({"a": DENSE, "b": other})
    ends = DENSE.select("end_to_end")
    assert jp.compare({"a": ends, "b": PRUNED}).table.loc["end_to_end", ("b", "delta_mean")] < 0  # all of the first


@pytest.mark.parametrize("epsilon", [0, -1, math.inf, math.nan, "0.1", True])
def test_a_band_without_width_is_refused(epsilon):
    with pytest.raises(ArgumentError, match="`epsilon` must be a positive number; got"):
        jp.compare({"a": DENSE, "b": PRUNED}, epsilon=epsilon)
