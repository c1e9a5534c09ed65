"""Batches in which a few inputs behave unlike the samples by which the methods were chosen."""

import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import SiteOracle, assert_spectrum_close, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp


class _Ball(nn.Module):
    """Projection on the unit ball: the identity inside, no diagonal outside."""

    def forward(self, x):
        return x / x.norm(dim=1, keepdim=True).clamp(min=1)


class _ClampLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x).clamp(-2, 2)


class _SortedAfter(nn.Module):
    """The identity where the entries decrease, else a permutation."""

    def forward(self, x):
        return x.sort(dim=1, descending=True).values


class _Either(nn.Module):
    """One matrix, or another where the first entry is large."""

    def __init__(self, usual, unusual):
        super().__init__()
        self.register_buffer("usual", usual)
        self.register_buffer("unusual", unusual)

    def forward(self, x):
        gate = (x[:, :1, None] > 2).detach()
        return (torch.where(gate, self.unusual, self.usual) @ x.unsqueeze(2)).squeeze(2)


_EYE = torch.eye(8)
_DIFFERENCES = _EYE.roll(1, 0) - 2 * _EYE + _EYE.roll(-1, 0)  # which linear weights do not see
_AVERAGES = (_EYE.roll(1, 0) + _EYE.roll(-1, 0)) / 2  # of numbers, whose mean is a number too


class _Gated(nn.Linear):
    def forward(self, x):
        return super().forward(x) * (1 + (x[:, :1] > 2)).to(x.dtype).detach()


class _Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _hooked():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[0].register_forward_hook(lambda module, args, result: result.clamp(-2, 2))
    return net


def _patched():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[0].forward = types.MethodType(lambda self, x: nn.Linear.forward(self, x).clamp(-2, 2), net[0])
    return net


def _between(module):
    return nn.Sequential(nn.Linear(8, 8), module, nn.Linear(8, 8))


MODELS = {
    "projection on a ball": lambda: _between(_Ball()),
    "clamp in a subclass of Linear": lambda: nn.Sequential(_ClampLinear(8, 8), nn.Linear(8, 8)),
    "clamp in a forward hook": _hooked,
    "clamp in a replaced forward": _patched,
    "gate in a subclass of Linear": lambda: nn.Sequential(_Gated(8, 8), nn.Linear(8, 8)),
    "sorting": lambda: _between(_SortedAfter()),
    "differences of neighbours": lambda: _between(_Either(_EYE, _EYE + _DIFFERENCES)),
    "averages in place of a permutation": lambda: _between(_Either(_EYE.flip(1), _AVERAGES)),
    "norm clipping in a residual branch": lambda: _between(_Function(lambda x: x + _Ball()(x).tanh())),
    "softmax of large entries": lambda: _between(_Function(
        lambda x: torch.where(x.amax(1, keepdim=True) > 2, (x / 20).softmax(1), x))),
    "largest of pairs": lambda: _between(_Function(lambda x: x.unflatten(1, (4, 2)).amax(2).repeat(1, 2))),
    "relu": lambda: _between(nn.ReLU()),
    "tanhshrink": lambda: _between(nn.Tanhshrink()),
    "hand-written swish": lambda: _between(_Function(lambda x: x * torch.sigmoid(x))),
    "scaled residual": lambda: _between(_Function(lambda x: 0.5 * x - torch.sub(x.relu(), x.tanh(), alpha=3))),
    "log-softmax": lambda: _between(nn.LogSoftmax(1)),
}
SCALES = {"every fourth from 20 on": slice(20, 300, 4), "one of the first": slice(5, 6), "one late": slice(217, 218),
          "five in the middle": slice(148, 153)}


def _unequal(which, *shape, by=120.0):
    inputs = 0.05 * seeded_normal(300, *shape)
    inputs[which] *= by
    return inputs


@pytest.mark.parametrize("where", SCALES)
@pytest.mark.parametrize("name", MODELS)
def test_values_are_right_whatever_a_few_inputs_do(name, where):
    net = MODELS[name]()
    for module in net[::2] if len(net) > 2 else net:
        randomized(module)
    net[0].bias.data.zero_()
    inputs = _unequal(SCALES[where], 8)
    result = jp.spectra(net, inputs, kind=["layers", "modules", "end_to_end"])
    few = [0, 1, 2, *torch.arange(300)[SCALES[where]].tolist()[:8]]
    oracle = SiteOracle(net, inputs[few])
    for spectrum in result:
        assert (spectrum.label, spectrum.reason) == ("exact", None)
        truth = singular_values(oracle.jacobian(spectrum.source, spectrum.target))
        cancels = name == "tanhshrink"  # near 0, where its derivative has a large relative error
        assert spectrum.floor <= (1e-2 if cancels else 2e-4) * truth.max()
        assert_spectrum_close(spectrum.values[few], truth, floor=spectrum.floor)
        ranks = (truth > spectrum.floor).sum(1)  # a derivative may be 0 in working precision
        assert (min(spectrum.out_dim, spectrum.in_dim) - spectrum.zeros[few].numpy() >= ranks).all()


@pytest.mark.parametrize("memory", [None, "40kB"])
def test_factors_that_hold_for_some_inputs_alone_are_not_used_and_the_result_says_so(memory):
    net = nn.Sequential(nn.Linear(8, 8, bias=False), _Ball(), nn.Linear(8, 8))
    net[0].weight.data = 0.5 * torch.eye(8)
    options = {} if memory is None else {"memory": memory}
    inside, outside = _unequal(slice(0, 0), 8), _unequal(slice(217, 218), 8)
    plain = jp.spectra(net, inside, **options)
    mixed = jp.spectra(net, outside, **options)
    assert [(s.method.split()[0], s.note) for s in plain] == [("factors", "")] * 3
    assert [s.method.split()[0] for s in mixed] == ["autograd", "factors", "autograd"]
    assert mixed["0"].note == mixed.end_to_end.note == \
        "its factors do not hold for all inputs, so that autograd was used"
    assert mixed["2"].note == ""


def test_signals_count_every_input_once_where_a_segment_is_solved_again():
    net = nn.Sequential(nn.Linear(8, 8, bias=False), _Ball(), nn.Linear(8, 8))
    net[0].weight.data = 0.5 * torch.eye(8)
    inputs = _unequal(slice(217, 218), 8)
    spectrum = jp.spectra(net, inputs, memory="40kB")["0"]
    assert spectrum.method.startswith("autograd")
    unit = F.normalize(inputs.double(), dim=1)
    cosine = float((unit.sum(0).square().sum() - 300) / (300 * 299))
    assert spectrum.cosine_in == pytest.approx(cosine, abs=1e-6)


def test_an_exact_spectrum_that_fits_by_factors_alone_gives_way_to_an_estimate():
    net = nn.Sequential(nn.Linear(40, 40), _Ball(), nn.Linear(40, 40))
    net[0].weight.data, net[0].bias.data = 0.1 * torch.eye(40), torch.zeros(40)
    inside, outside = _unequal(slice(0, 0), 40), _unequal(slice(217, 218), 40)
    options = {"kind": "layers", "work": 8e7}
    assert jp.spectra(net, inside, **options)["0"].method.startswith("factors + gram")
    spectrum = jp.spectra(net, outside, **options)["0"]
    assert spectrum.label == "estimated"
    assert spectrum.note.startswith("its factors do not hold for all inputs, so that autograd was used; exact spectra")
    reason = jp.spectra(net, outside, method="exact", **options)["0"].reason
    assert reason.startswith("exact spectra of 300 matrices of 40 x 40 need ")


def _circular():
    net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.ReLU())
    net[0].weight.data = 0.1 * seeded_normal(2, 2, 3, 3)
    net[0].bias.data.fill_(5.0)
    return net


def test_a_circular_convolution_behind_a_relu_is_right_where_some_units_are_off():
    net, inputs = _circular(), seeded_normal(8, 2, 8, 8)
    inputs[1] *= 50
    spectrum = jp.spectra(net, inputs, kind="layers")["0"]
    truth = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))
    assert_spectrum_close(spectrum.values, truth, floor=spectrum.floor)
    assert spectrum.floor <= 1e-4 * truth.max()


def test_fourier_refuses_a_convolution_that_some_inputs_make_another():
    net, inputs = _circular(), seeded_normal(8, 2, 8, 8)
    assert jp.spectra(net, inputs, kind="layers", method="fourier")["0"].reason is None
    inputs[1] *= 50
    reason = jp.spectra(net, inputs, kind="layers", method="fourier")["0"].reason
    assert reason.startswith("method 'fourier' needs one convolution that is the same for all inputs")


@pytest.mark.parametrize("method", ["bounds", "density", "largest", "moments"])
def test_every_method_takes_a_permutation_that_some_inputs_bring(method):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(x).flatten(1).sort(dim=1).values

    net = Net()
    net.conv.weight.data = torch.tensor([[[0.0, 1.0, 0.2]]])
    inputs = torch.arange(1.0, 9).repeat(20, 1, 1)  # sorted, but for one
    inputs[9] = inputs[9].flip(1)
    spectrum = jp.spectra(net, inputs, kind="end_to_end", method=method, num_steps=8, num_values=2).end_to_end
    truth = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))
    if method == "bounds":
        assert "method 'bounds' needs one convolution" in spectrum.reason
    elif method == "largest":
        assert (spectrum.bounds[0].numpy() - 1e-5 <= truth[:, :2]).all()
        assert (spectrum.bounds[1].numpy() + 1e-5 >= truth[:, :2]).all()
    else:
        error = 4 * spectrum.standard_error("mean_square") + 1e-5
        assert abs(spectrum.mean_square - (truth**2).mean()) <= error


@pytest.mark.parametrize("first", ["plain", "masked"])
def test_chunks_that_know_the_frobenius_norm_join_those_that_do_not(first):
    net = nn.Sequential(nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    inputs = seeded_normal(64, 16)
    inputs[:40] = inputs[:40].abs()
    inputs = inputs if first == "plain" else inputs.flip(0)
    spectrum = jp.spectra(net, inputs, kind="end_to_end", method="density", num_steps=16, memory="60kB").end_to_end
    truth = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))
    assert spectrum.density.frobenius is None
    assert abs(spectrum.mean - truth.mean()) <= 4 * spectrum.standard_error("mean") + 1e-5


@pytest.mark.parametrize("inactive", [False, True], ids=["all units on", "units off in some inputs"])
def test_work_counts_every_input_where_the_matrix_may_differ(inactive):
    """The samples that are looked at first have every unit on; what follows need not."""
    net = randomized(nn.Sequential(nn.Linear(50, 50), nn.ReLU()))
    net[0].bias.data.fill_(9.0)
    inputs = seeded_normal(300, 50)
    if inactive:
        inputs[torch.arange(300) % 299 % 149 > 0] *= 30
    work = 3 * (4 / 3 + 2) * 50**3
    result = jp.spectra(net, inputs, kind=["layers", "modules"], method="exact", work=work)
    assert result["0"].reason.startswith("exact spectra of 300 matrices of 50 x 50 need ")
    assert result.select("module")["0"].label == "exact"
    assert jp.spectra(net, inputs[:1], kind="layers", method="exact", work=work)["0"].reason is None


LINEAR = {
    "batch norm": nn.BatchNorm2d(2),
    "batch norm by hand": _Function(lambda x: x * torch.tensor([[[[2.0]], [[0.5]]]]) + 1),
    "padding and a slice": _Function(lambda x: F.pad(x, (1, 1))[..., 1:-1]),
    "dropout": nn.Dropout(),
    "scale and shift": _Function(lambda x: 3 - 2 * x / 5),
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_by_construction_is_worked_on_once(name):
    net = randomized(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), LINEAR[name]))
    inputs = seeded_normal(500, 2, 8, 8)
    spectrum = jp.spectra(net, inputs, kind="layers", work=1e8)["0"]
    assert "fourier" in spectrum.method
    truth = singular_values(SiteOracle(net, inputs[:1]).jacobian("input", "output"))
    np.testing.assert_allclose(spectrum.values[:1], truth, atol=spectrum.floor)
    assert jp.spectra(net, inputs, kind="layers", method="exact", work=1e8)["0"].reason is None
