import pytest
import torch
from made_up import bounded, exact, missing
from torch import nn

import jacprobe as jp
from jacprobe.masks import Masks
from jacprobe.report.findings import findings, next_steps
from jacprobe.report.section import Section
from jacprobe.results import SpectrumSet


def found(section):
    return {finding.subject: finding for finding in findings(section)}


def section(*spectra, **more):
    return Section(SpectrumSet(spectra, 0.1, {"file": "my net.pt"}, {"data": "digits"}), **more)


def pruned(first, second, *spectra):
    """A section of a network of two matrices that keep what these lists say."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    masks = Masks({"0.weight": torch.tensor(first).bool(), "1.weight": torch.tensor(second).bool()})
    return section(*spectra, mask_report=jp.mask_report(net, masks, input_shape=(2,)))


@pytest.mark.parametrize(("spectrum", "state", "words"), [
    (exact("fc", [[1.05, 1.0]]), "good", "within 0.1 of 1: yes, in all 1 layers."),
    (exact("fc", [[1.05, 0.5]]), "bad", "within 0.1 of 1: no, it holds in 0 of 1 layers; least in fc (50.0 % within)."),
    (bounded("fc", [[0.95, 0.5]], [[1.05, 1.0]], dim=2), "open", "not known"),
    (missing("fc", "layer"), "open", "not judged"),
], ids=["holds", "fails", "bounded", "missing"])
def test_isometry_is_judged(spectrum, state, words):
    finding = found(section(spectrum))["Isometry"]
    assert finding.state == state
    assert words in finding.text


def test_the_scale_names_the_ends_and_the_whole_with_their_labels():
    layers = exact("a", [[0.5, 0.5]]), exact("b", [[2.0, 2.0]]), exact("end_to_end", [[0.25, 0.25]], kind="end_to_end")
    assert found(section(*layers))["Scale"].text == (
        "Mean singular value: 0.5 (exact) in a to 2 (exact) in b; 0.25 (exact) from input to output.")
    assert "Scale" not in found(section(missing("fc", "layer")))


@pytest.mark.parametrize(("spectra", "state", "words"), [
    ([exact("fc", [[1.0, 0.5]])], "good", "No singular value of the 1 segments counted"),
    ([exact("a", [[1.0, 0.0]], zeros=1), exact("b", [[1.0, 0.5]])], "bad", "1 of 2 layers have singular values"),
    ([exact("a", [[1.0, 0.0]], zeros=1)], "bad", "most in a (50.0 % of its values; exact)"),
    ([exact("end_to_end", [[0.0, 0.0]], zeros=2, kind="end_to_end")], "bad", "no signal passes"),
    ([exact("a", [[1.0, 0.5]]), exact("end_to_end", [[1.0, 0.0]], zeros=1, kind="end_to_end")], "note",
     "1 of 2 segments have singular values that are zero by structure, most in end_to_end (50.0 % of its"),
    ([missing("fc", "layer")], "open", "not counted"),
], ids=["none", "in one of two", "the worst", "all", "from input to output alone", "unknown"])
def test_zeros_are_told(spectra, state, words):
    finding = found(section(*spectra))["Zeros"]
    assert finding.state == state
    assert words in finding.text


def test_connection_and_sparsity_are_told_from_masks():
    told = found(pruned([[1, 1], [0, 0]], [[1, 1], [0, 1]], exact("fc")))
    assert told["Connection"].text == ("The network is connected: 3 of 5 kept weights lie on a path from the input to"
                                       " the output (exact).")
    assert told["Sparsity"].text == ("37.5 % of the weights are removed; kept are 50 % of 0.weight up to 75 % of"
                                     " 1.weight (exact).")
    assert told["Masks"].text.startswith("Rank: zeros alone lower it")
    cut = found(pruned([[1, 0], [0, 0]], [[0, 1], [0, 1]], exact("fc")))
    assert cut["Connection"].state == "bad"
    assert "disconnected: 0 of 3 kept weights" in cut["Connection"].text
    assert found(pruned([[1, 1], [1, 1]], [[1, 1], [1, 1]], exact("fc")))["Sparsity"].text == "No weight is removed."


def test_the_concentration_of_scores_is_that_of_the_most_favoured_parameter():
    scores = {"a": torch.ones(3, 1), "b": torch.tensor([[7.0]])}
    finding = found(section(exact("fc"), scores=scores, score_label="snip score"))["Concentration"]
    assert finding.text.startswith("b has 25 % of the weights and 70 % of all scores: snip score")
    zeros = {name: 0 * score for name, score in scores.items()}
    assert found(section(exact("fc"), scores=zeros))["Concentration"].text.startswith("All scores are zero")


def steps(section_):
    return [(step.text.split(":")[0], step.command) for step in next_steps(section_)]


def test_what_to_do_next_follows_from_the_verdict():
    scores = {"a": torch.ones(2, 2)}
    good, bad = exact("fc", [[1.0, 1.0]]), exact("fc", [[1.0, 0.5]])
    assert steps(section(good, scores=scores)) == [("Nothing needs repair", "")]
    assert steps(section(bad, scores=scores))[0][1] == 'jp.initialize(model, "orthogonal", seed=0)'
    assert "--method exact" in steps(section(missing("fc", "layer"), scores=scores))[0][0]
    assert "--data digits" in next_steps(section(good))[-1].text
    repair, compare, _ = steps(pruned([[1, 1], [0, 1]], [[1, 1], [1, 1]], bad))
    assert repair[1] == "jacprobe isometrize 'my net.pt' --output 'my net-repaired.pt'"
    assert compare[1] == "jacprobe compare 'my net.pt' 'my net-repaired.pt' --data digits"
    assert "--min-kept" in next_steps(pruned([[1, 0], [0, 0]], [[0, 1], [0, 1]], bad))[0].text
