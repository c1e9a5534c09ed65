"""Forwards that run in half precision inside, by autocast or by a cast: probed as they are, in float32 around them."""

import numpy as np
import pytest
import torch
from oracles import randomized, seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.probe.operators import GraphJacobian

UNIT = torch.finfo(torch.bfloat16).eps


class _Autocast(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.a, self.b, self.last = nn.Linear(6, 8), nn.Linear(8, 5), last

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = self.b(self.a(x).tanh())
        return result if self.last is None else result.to(self.last)


class _Cast(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.b(self.a(x).bfloat16().tanh().to(x.dtype))


def _exact(net, inputs):
    """NumPy's singular values of the whole network in float64, where nothing is rounded to half precision."""
    weight = [net.a.weight.detach().double().numpy(), net.b.weight.detach().double().numpy()]
    hidden = inputs.double().numpy() @ weight[0].T + net.a.bias.detach().double().numpy()
    return np.linalg.svd(weight[1] * (1 - np.tanh(hidden) ** 2)[:, None] @ weight[0], compute_uv=False)


MODELS = {"autocast": _Autocast, "autocast and back": lambda: _Autocast(torch.float32), "cast": _Cast}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["exact", "svd", "largest"])
def test_values_are_those_of_the_model_within_its_half_precision(name, method):
    net, inputs = randomized(MODELS[name]()), seeded_normal(4, 6)
    spectrum = jp.spectra(net, inputs, kind="end_to_end", method=method, num_values=5).end_to_end
    exact = _exact(net, inputs)
    off = np.abs(spectrum.values.numpy() - exact).max()
    assert off <= 4 * UNIT * exact.max()
    if method != "largest":
        assert off <= spectrum.floor


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["density", "largest", "moments"])
def test_rounding_in_half_precision_is_no_missing_second_derivative(name, method):
    net = randomized(MODELS[name]())
    for spectrum in jp.spectra(net, seeded_normal(4, 6), kind=("layers", "end_to_end", "modules"), method=method):
        assert spectrum.reason is None
        assert spectrum.floor > UNIT * 1e-2


def test_operators_take_float32_where_the_graph_begins_in_half_precision():
    net, inputs = randomized(_Autocast()), seeded_normal(4, 6)
    operator = jp.jacobian(net, inputs, source="a")
    assert operator.dtype == torch.float32
    dense, block = operator.dense(), seeded_normal(4, 8, 3)
    assert dense.dtype == operator.matmat(block).dtype == torch.float32
    assert (operator.matmat(block) - dense @ block).abs().max() <= 4 * UNIT * (dense @ block).abs().max()


def test_half_precision_is_seen_only_where_it_lies_between_the_sites():
    net, inputs = randomized(_Cast()), seeded_normal(4, 6)
    whole = jp.jacobian(net, inputs)
    assert isinstance(whole, GraphJacobian)
    assert whole._coarsest_unit() == UNIT
    assert jp.jacobian(net, inputs, target="a")._coarsest_unit() == torch.finfo(torch.float32).eps
