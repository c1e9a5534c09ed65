"""Matrix-free methods over chunks of inputs and over the range of float32, against NumPy and exact spectra."""

import numpy as np
import pytest
import torch
from oracles import randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.linop import Diagonal, Matrix, Product
from jacprobe.probe.methods import TwoMoments

METHODS = ("density", "moments", "largest")


def _linear(in_dim, out_dim, scale=1.0, seed=0):
    layer = nn.Linear(in_dim, out_dim, bias=False)
    layer.weight.data = scale * seeded_normal(out_dim, in_dim, seed=seed) / in_dim**0.5
    return layer


def _layer(model, inputs, **options):
    return next(iter(jp.spectra(model, inputs, kind="layers", progress=False, **options)))


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e-12, 1e10, 1e20, 1e30])
def test_a_layer_of_any_scale_is_measured_as_well_as_one_near_one(scale):
    layer = _linear(30, 30, scale)
    inputs = torch.ones(2, 30)
    truth = singular_values(layer.weight.detach().double()) / scale
    squares = truth**2
    found = _layer(layer, inputs, method="density")
    assert abs(found.mean / scale - truth.mean()) <= 4 * found.standard_error("mean") / scale < 0.1
    assert found.max / scale == pytest.approx(truth.max(), rel=1e-4)
    found = _layer(layer, inputs, method="moments", num_probes=40)
    error = found.standard_error("mean_square") / scale**2
    assert abs(found.mean_square / scale**2 - squares.mean()) <= 4 * error < 0.4
    relative = squares.var() / squares.mean() ** 2
    assert abs(found.relative_variance - relative) <= 4 * found.standard_error("relative_variance") < 0.8
    found = _layer(layer, inputs, method="largest", num_values=3)
    lower, upper = (ends[0].numpy() / scale for ends in found.bounds)
    slack = found.floor / scale
    assert (lower - slack <= truth[:3]).all()
    assert (truth[:3] <= upper + slack).all()
    assert upper[0] < 1.3 * truth[0]


def test_a_deep_network_that_shrinks_everything_is_measured():
    net = nn.Sequential(*[part for seed in range(20) for part in (_linear(60, 60, 0.3, seed), nn.Tanh())])
    inputs = seeded_normal(3, 60)
    exact, density = (jp.spectra(net, inputs, kind="end_to_end", method=method).end_to_end
                      for method in ("exact", "density"))
    assert exact.max < 1e-8
    assert abs(density.mean - exact.mean) <= 4 * density.standard_error("mean") < exact.mean
    assert density.max == pytest.approx(exact.max, rel=1e-4)
    assert density.relative_variance == pytest.approx(exact.relative_variance, rel=0.5)


def test_moments_of_a_matrix_that_serves_all_inputs_are_as_uncertain_as_those_of_one():
    layer, inputs = _linear(40, 30), seeded_normal(300, 40)
    one, all_, chunks = (_layer(layer, some, method="moments", num_probes=4, memory=memory)
                         for some, memory in ((inputs[:1], None), (inputs, None), (inputs, "200kB")))
    truth = float(layer.weight.detach().double().square().sum() / 30)
    for found in (one, all_, chunks):
        error = found.standard_error("mean_square")
        assert abs(found.mean_square - truth) <= 4 * error
        assert error == pytest.approx(one.standard_error("mean_square"), rel=1e-6)
        assert found.mean_square == pytest.approx(one.mean_square, rel=1e-6)


def test_a_density_knows_which_chunks_have_probes_of_their_own():
    """All units of the first inputs are on: one matrix serves whole chunks. Those of the last ones are not."""
    net = randomized(nn.Sequential(nn.Linear(60, 50), nn.ReLU()))
    net[0].bias.data.fill_(12.0)
    inputs = seeded_normal(64, 60)
    inputs[60:] *= 20
    truth = _layer(net, inputs).values
    x = torch.linspace(0.1, 2, 50, dtype=torch.float64)
    expected = (truth.flatten() <= x[:, None]).double().mean(1)
    scores = []
    for seed in range(12):
        found = _layer(net, inputs, method="density", memory="250kB", num_steps=40, num_probes=2, seed=seed)
        assert len(found.density.nodes.unique(dim=0)) < 32  # chunks were shared
        scores.append((found.mean - float(truth.mean())) / found.standard_error("mean"))
        lower, upper = found.density.band(x)
        assert (lower <= expected + 1e-6).all()
        assert (expected <= upper + 1e-6).all()
    assert np.sqrt(np.mean(np.square(scores))) < 1.6


def test_the_chance_of_a_wrong_upper_end_is_shared_by_all_inputs():
    """Chunks divide the chance among themselves, whatever the last one rests on."""
    net = randomized(nn.Sequential(nn.Linear(200, 200), nn.ReLU()))
    net[0].bias.data.fill_(-0.5)
    inputs = seeded_normal(63, 200)
    inputs[-1] = 0  # no unit is on, so that its bounds are certain
    whole, chunks = (_layer(net, inputs, method="largest", num_values=2, memory=memory) for memory in (None, "1.2MB"))
    assert whole.confidence == chunks.confidence == 0.99
    np.testing.assert_allclose(chunks.bounds[1][:, 0], whole.bounds[1][:, 0], rtol=0.15)
    few = _layer(net, inputs[:2], method="largest", num_values=2)
    assert (few.bounds[1][:2, 0] < whole.bounds[1][:2, 0]).all()  # each may fail more often
    certain = _layer(net, inputs[-1:], method="largest", num_values=2)
    assert (certain.confidence, float(certain.bounds[1].max())) == (1, 0)


class Watched(Matrix):
    """A matrix that notes the most numbers that a block of vectors had."""

    most = 0

    def _apply(self, matrix, block):
        self.most = max(self.most, block.numel())
        return super()._apply(matrix, block)


@pytest.mark.parametrize("memory", [1e4, 1e5, 1e9])
def test_moments_keep_to_the_memory_they_are_given(memory):
    diagonal, matrix = Diagonal(seeded_normal(20, 50)), Watched(seeded_normal(50, 50))
    parts = TwoMoments(num_probes=40, seed=0, memory=memory).solve(Product([diagonal, matrix]), 20, 0)
    assert parts["mean_square"].shape == (20,)
    assert matrix.most * 4 * 6 <= memory  # three blocks on either side
    assert matrix.most == 20 * 40 * 50 or memory < 1e9


@pytest.mark.parametrize("method", METHODS)
def test_one_probe_of_one_input_is_the_least_memory(method):
    net = randomized(nn.Sequential(nn.Linear(50, 40), nn.ReLU()))
    options = {"num_probes": 2, "num_steps": 4} if method == "density" else {}
    reason = _layer(net, seeded_normal(4, 50), method=method, memory="2kB", **options).reason
    assert "more than 50% of the budget" in reason


@pytest.mark.parametrize("first", ["known", "unknown"])
def test_norms_that_structure_tells_for_some_chunks_only_are_left_out(first):
    net = randomized(nn.Sequential(nn.ReLU(), nn.Linear(60, 50), nn.ReLU()))
    inputs = seeded_normal(64, 60).abs()
    inputs[40:] -= 1  # some inputs of the first activation are off: a diagonal on either side of the matrix
    inputs = inputs if first == "known" else inputs.flip(0)
    whole, chunks = (jp.spectra(net, inputs, kind="end_to_end", method="density", memory=memory, num_steps=4,
                                num_probes=3).end_to_end for memory in (None, "250kB"))
    assert chunks.density.frobenius is None
    np.testing.assert_allclose(chunks.density.nodes, whole.density.nodes, atol=1e-5)
