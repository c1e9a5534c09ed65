"""Accuracy "relative" of whole models: what it resolves, what it leaves to the floor, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from oracles import randomized, seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import NonFiniteError
from jacprobe.linop import Diagonal, Product
from jacprobe.probe.methods import Relative

EPS = torch.finfo(torch.float64).eps


def _linear(*weights):
    """Linear layers with these weights, the first one first."""
    layers = [nn.Linear(len(weight[0]), len(weight), bias=False).double() for weight in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    return nn.Sequential(*layers)


def _end_to_end(net, inputs=None, **options):
    inputs = torch.ones(1, net[0].in_features, dtype=torch.float64) if inputs is None else inputs
    return jp.spectra(net, inputs, kind="end_to_end", accuracy="relative", **options).end_to_end


CANCELLING = {
    "a difference": (_linear([[1.0], [1.0]], [[1.0, -1.0]]), [0.0]),
    "rank one": (_linear([[1.0, 1.0], [1.0, 1.0]]), [2.0, 0.0]),
    "nearly rank one": (_linear([[1.0, 1.0], [1.0, 1 + 2.0**-50]]), [2.0, 2.0**-51]),
    "four ones": (_linear([[1.0] * 4] * 4), [4.0, 0, 0, 0]),
    "a sum and a difference": (_linear([[1.0, 1.0], [1.0, -1.0]], [[1.0, 1.0], [1.0, 1.0]]), [8**0.5, 0.0]),
}


@pytest.mark.parametrize("name", CANCELLING)
def test_values_that_may_be_rounding_alone_have_an_absolute_floor(name):
    net, exact = CANCELLING[name]
    spectrum = _end_to_end(net)
    assert math.isnan(spectrum.relative_floor)
    assert np.abs(spectrum.values.numpy() - exact).max() <= spectrum.floor <= 64 * EPS * 4
    assert spectrum.zeros.tolist() == [0]
    assert spectrum.num_under_floor == sum(value < 1e-15 for value in exact)
    assert 1 <= spectrum.cond <= exact[0] / spectrum.floor + 1
    assert math.isnan(spectrum.log_det)


def test_one_input_that_cancels_leaves_the_floor_for_all():
    """A unit that is dead for one input alone: then two equal rows are left, else the second layer tells them apart."""
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    net[0].weight.data = torch.tensor([[1.0, 0], [2, 0], [0, 1]]).double()
    net[2].weight.data = torch.tensor([[3.0, 1, 0], [1, 2, 1]]).double()
    both, dead = torch.tensor([[1.0, 1]]).double(), torch.tensor([[1.0, -1]]).double()
    resolved = jp.spectra(net, both, kind="end_to_end", accuracy="relative").end_to_end
    mixed = jp.spectra(net, torch.cat([both, dead]), kind="end_to_end", accuracy="relative").end_to_end
    assert resolved.relative_floor < 1e-12
    assert mixed.zeros.tolist() == [0, 1]
    assert mixed.relative_floor < 1e-12  # a dead unit is a structural zero, which needs no floor
    net[0].weight.data = torch.tensor([[1.0, 1], [2, 2], [0, 1]]).double()
    cancelling = jp.spectra(net, torch.tensor([[1.0, 1], [2, -1]]).double(), kind="end_to_end", accuracy="relative")
    assert cancelling.end_to_end.zeros.tolist() == [0, 0]
    assert math.isnan(cancelling.end_to_end.relative_floor)
    assert cancelling.end_to_end.num_under_floor == 1


def test_a_value_that_float64_cannot_hold_counts_as_under_the_floor():
    net = _linear(*[[[1.0, 0.0], [0.0, 1e-200]]] * 3)
    spectrum = _end_to_end(net)
    assert spectrum.values.tolist() == [[1.0, 0.0]]
    assert (spectrum.zeros.tolist(), spectrum.num_under_floor) == ([0], 1)
    assert spectrum.min_interval[0] == 0 < spectrum.min_interval[1] < 1e-300
    assert spectrum.cond == math.inf
    assert math.isnan(spectrum.log_det)


def test_values_beyond_float64_are_refused():
    huge = Diagonal(torch.tensor([[1.0, 1e200]], dtype=torch.float64))
    with pytest.raises(NonFiniteError, match=r"`product` must have singular values that float64 holds; got exp\(921\)"):
        Relative().solve(Product([huge, huge]), 1, 0)


def test_the_memory_of_a_relative_spectrum_is_kept_to_the_budget():
    net = randomized(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh()))
    reason = jp.spectra(net, seeded_normal(3, 1, 20, 20), kind="layers", accuracy="relative", memory="10MB")["0"].reason
    assert "400 x 400 to relative accuracy needs" in reason
    assert "GiB per input, more than the budget of 0.00931 GiB" in reason


def test_the_work_of_a_relative_spectrum_is_kept_to_the_limit_and_the_number_that_fits_is_named():
    net = randomized(nn.Sequential(nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 30)))
    reason = _end_to_end(net, seeded_normal(300, 30), work=4e8).reason
    assert "exact spectra of 300 matrices of 30 x 30 to relative accuracy need" in reason
    fitting = int(reason.rpartition("; ")[2].split()[0])
    assert 0 < fitting < 300
    assert _end_to_end(net, seeded_normal(fitting, 30), work=4e8).reason is None


def test_matrices_that_are_the_same_for_all_inputs_count_once():
    net = randomized(nn.Sequential(nn.Linear(60, 60), nn.Linear(60, 60)))
    assert _end_to_end(net, seeded_normal(300, 60), work=3e9).reason is None


def test_layers_too_large_for_explicit_matrices_are_refused_by_themselves():
    net = randomized(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                   nn.Linear(1, 2)))
    result = jp.spectra(net, seeded_normal(1, 1, 150, 150), kind="layers", accuracy="relative")
    assert "to relative accuracy needs" in result["0"].reason
    assert result["4"].reason is None
