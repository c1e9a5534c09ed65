"""Memory and work are bounded; what does not fit says so in numbers."""

import importlib

import pytest
import torch
from architectures import PreNormBlock
from oracles import randomized, seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import BudgetError


def _net():
    return randomized(nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 4), nn.Tanh()))


@pytest.mark.parametrize("factory", [_net, lambda: nn.Sequential(PreNormBlock(), nn.Flatten())])
def test_chunks_give_the_values_of_one_piece(factory):
    net = randomized(factory())
    inputs = seeded_normal(30, 20) if isinstance(net[0], nn.Linear) else seeded_normal(30, 5, 4)
    kinds = ("layers", "modules", "cumulative", "end_to_end")
    whole = jp.spectra(net, inputs, kind=kinds, accuracy="reference")
    parts = jp.spectra(net, inputs, kind=kinds, accuracy="reference", memory=8 * 3 * 400 * 4)  # four inputs at a time
    for one, other in zip(whole, parts, strict=True):
        assert one.reason == other.reason
        assert one.values is None or float((one.values - other.values).abs().max()) <= 1e-13 * one.max
        assert one.num_zeros == other.num_zeros


def test_an_unlimited_budget_runs_in_one_chunk(monkeypatch):
    sizes = _watch(monkeypatch)
    jp.spectra(_net(), seeded_normal(30, 20), memory=float("inf"))
    assert sizes == [30]


def test_a_spectrum_beyond_the_memory_names_the_numbers():
    result = jp.spectra(_net(), seeded_normal(3, 20), method="exact", memory=8 * 3 * 90)
    assert result["0"].reason == "an exact spectrum of 20 x 20 needs 7.82e-06 GiB per input, more than the budget of" \
                                 " 2.01e-06 GiB"
    assert result["2"].reason is None  # 4 x 4 after reduction
    assert (result["0"].out_dim, result["0"].in_dim, result["0"].values) == (20, 20, None)


@pytest.mark.parametrize(("method", "one"), [("gram", 2 * 20**3 + 4 * 20**3 / 3), ("svd", 4 * 20**3 - 4 * 20**3 / 3)])
def test_a_spectrum_beyond_the_work_names_how_many_inputs_would_fit(method, one):
    once = 4 * 20**3  # what the layers of all inputs share
    work = once + 3.5 * one
    result = jp.spectra(_net(), seeded_normal(5, 20), method=method, work=work)
    total = once + 5 * one
    assert result["0"].reason == f"exact spectra of 5 matrices of 20 x 20 need {total:.1e} operations, more than" \
                                 f" the limit of {work:.1e}; 3 inputs would fit"
    assert jp.spectra(_net(), seeded_normal(3, 20), method=method, work=work)["0"].reason is None


def test_work_below_one_input_promises_no_cure():
    reason = jp.spectra(_net(), seeded_normal(5, 20), method="exact", work=1e3)["0"].reason
    assert reason.endswith("more than the limit of 1.0e+03")


def test_work_counts_the_products_that_form_a_matrix():
    net = nn.Sequential(PreNormBlock(), nn.Flatten(), nn.Linear(20, 10))
    result = jp.spectra(net, seeded_normal(1, 5, 4), kind="end_to_end", method="exact", work=2e4)
    assert "more than the limit of 2.0e+04" in result.end_to_end.reason


def test_what_is_not_exact_says_why():
    net = randomized(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(576, 4)))
    result = jp.spectra(net, seeded_normal(10, 4, 12, 12), work=2e9)
    first = result["0"]
    assert (first.label, first.reason) == ("estimated", None)
    assert first.note.startswith("exact spectra of 10 matrices of 576 x 576 need ")
    assert "operations, more than the limit of 2.0e+09" in first.note
    assert (result["3"].label, result["3"].note) == ("exact", "")


def test_a_matrix_that_is_the_same_for_all_inputs_is_worked_on_once():
    result = jp.spectra(_net(), seeded_normal(500, 20), kind="modules", method="exact", work=7e4)
    assert [s.reason for s in result] == [None, None]
    assert torch.equal(result["0"].values[0], result["0"].values[-1])


def test_matrices_of_modules_are_kept_only_within_their_share():
    net = randomized(nn.Sequential(*[nn.Linear(20, 20) for _ in range(5)]))
    result = jp.spectra(net, seeded_normal(2, 20), kind="modules", memory=4 * 16 * 400 * 2.5)
    assert [s.method.split()[0] for s in result] == ["factors"] * 2 + ["autograd"] * 3


@pytest.mark.parametrize(("text", "size"), [("2GiB", 2 * 2**30), ("500 MB", 5e8), ("1.5kB", 1500), ("4096", 4096)])
def test_memory_may_be_a_text(text, size):
    result = jp.spectra(_net(), seeded_normal(2, 20), memory=text)
    assert result.provenance["memory"] == size


def _watch(monkeypatch, fits=lambda num_inputs, batch: True):
    """Record the chunk sizes that went well; simulate a device on which only some batches fit."""
    measurement = importlib.import_module("jacprobe.probe.measurement").Measurement
    sizes, original = [], measurement._run_chunk
    session = importlib.import_module("jacprobe.probe.session").Session
    trace = session.trace

    def traced(self, inputs, copies=1, observe=None):
        if copies >= 1 and getattr(self, "measuring", False) and not fits(len(inputs), len(inputs) * copies):
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return trace(self, inputs, copies, observe)

    def measured(self, todo, inputs, start, bar):
        self._session.measuring = True
        original(self, todo, inputs, start, bar)
        sizes.append(len(inputs))

    monkeypatch.setattr(session, "trace", traced)
    monkeypatch.setattr(measurement, "_run_chunk", measured)
    return sizes


@pytest.mark.parametrize("limit", [1, 2, 9])
def test_running_out_of_memory_halves_the_batch_and_goes_on(monkeypatch, limit):
    """The copies of few inputs count too: one input in 64 copies needs as much as 64 inputs."""
    net, inputs = randomized(nn.Sequential(PreNormBlock(), nn.Flatten())), seeded_normal(20, 5, 4)
    expected = jp.spectra(net, inputs, accuracy="reference")
    sizes = _watch(monkeypatch, lambda num_inputs, batch: batch <= limit)
    result = jp.spectra(net, inputs, accuracy="reference")
    assert sum(sizes) == 20
    assert max(sizes) <= limit
    for one, other in zip(expected.select("layer", "end_to_end"), result.select("layer", "end_to_end"), strict=True):
        assert float((one.values - other.values).abs().max()) <= 1e-13 * one.max


def test_running_out_of_memory_on_one_input_is_a_budget_error(monkeypatch):
    _watch(monkeypatch, lambda num_inputs, batch: False)
    with pytest.raises(BudgetError, match=r"`memory` must suffice for one input; the device ran out. Probe fewer"):
        jp.spectra(_net(), seeded_normal(20, 20))


def test_progress_goes_to_stderr_and_only_where_asked(capsys):
    jp.spectra(_net(), seeded_normal(2, 20), progress=False)
    assert capsys.readouterr() == ("", "")
    jp.spectra(_net(), seeded_normal(2, 20), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "spectra" in err
