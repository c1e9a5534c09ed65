"""Spectra that are known on paper."""

import math

import numpy as np
import pytest
import torch
from oracles import assert_spectrum_close, seeded_normal
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp

KINDS = ("layers", "modules", "cumulative", "end_to_end")


def _linear(weight, bias=None):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).to(weight.dtype)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


class _Turn(nn.Module):
    """A product with a matrix that is no weight, so no structured factor."""

    def forward(self, x):
        return x @ torch.linalg.qr(seeded_normal(x.shape[1], x.shape[1])).Q.to(x.dtype)


def _orthogonal(out_dim, in_dim, seed):
    weight = torch.empty(out_dim, in_dim, dtype=torch.float64)
    return nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("accuracy", "tolerance"), [("fast", 1e-5), ("standard", 1e-5), ("reference", 1e-12)])
def test_a_deep_orthogonal_linear_net_has_only_ones(accuracy, tolerance):
    weights = [_orthogonal(30, 30, seed) for seed in range(8)] + [_orthogonal(10, 30, 9)]
    weights = weights if accuracy == "reference" else [w.float() for w in weights]
    net = nn.Sequential(*[_linear(w) for w in weights])
    result = jp.spectra(net, seeded_normal(5, 30), kind=KINDS, accuracy=accuracy)
    for spectrum in result:
        assert float((spectrum.values - 1).abs().max()) < tolerance
        assert spectrum.floor < 2 * tolerance
        assert spectrum.num_zeros == 0
    assert result.is_isometric
    assert result.end_to_end.values.shape == (5, 10)


def test_a_diagonal_net_has_the_products_of_its_entries():
    diagonals = torch.tensor([[3.0, -2, 1], [1, 5, -2]], dtype=torch.float64)
    net = nn.Sequential(*[_linear(torch.diag(entries)) for entries in diagonals])
    result = jp.spectra(net, torch.ones(2, 3), kind=KINDS)
    assert_spectrum_close(result.end_to_end.values, [[10, 3, 2]] * 2, floor=1e-13)
    assert_spectrum_close(result["0"].values, [[3, 2, 1]] * 2, floor=1e-13)


def test_the_zeros_of_a_relu_with_known_signs_are_structural_and_counted_exactly():
    net = nn.Sequential(_linear(torch.eye(4)), nn.ReLU())
    inputs = torch.tensor([[1.0, 2, 3, 4], [1, -2, 3, -4], [-1, -2, -3, -4], [1, 1, 1, -1]])
    spectrum = jp.spectra(net, inputs, kind="end_to_end").end_to_end
    assert spectrum.zeros.tolist() == [0, 2, 4, 1]
    assert torch.equal(spectrum.values, torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [0] * 4, [1, 1, 1, 0]]).double())
    assert spectrum.num_under_floor == 0


def test_inactive_units_in_the_middle_limit_the_rank():
    bias = torch.tensor([100.0] * 3 + [-100.0] * 5)
    net = nn.Sequential(_linear(seeded_normal(8, 6), bias), nn.ReLU(), _linear(seeded_normal(7, 8, seed=1)))
    spectrum = jp.spectra(net, seeded_normal(4, 6, seed=2), kind="end_to_end").end_to_end
    assert spectrum.zeros.tolist() == [3] * 4  # rank 3 of 6
    assert (spectrum.values[:, :3] > spectrum.floor).all()


def test_a_narrow_layer_makes_structural_zeros_of_what_it_cannot_pass():
    net = nn.Sequential(*[_linear(seeded_normal(*s, seed=i)) for i, s in enumerate([(6, 5), (2, 6), (7, 2)])])
    result = jp.spectra(net, seeded_normal(3, 5), kind=KINDS)
    assert result.end_to_end.values.shape == (3, 5)
    assert result.end_to_end.zeros.tolist() == [3, 3, 3]
    assert (result.end_to_end.values[:, 2:] == 0).all()
    assert [result[name].num_zeros for name in result.layers] == [0, 0, 0]


def _dead(how):
    net = nn.Sequential(_linear(seeded_normal(5, 5)), nn.Tanh(), _linear(seeded_normal(5, 5, seed=1)), nn.Tanh())
    if how == "masks":
        return jp.Masks({"2.weight": torch.zeros(5, 5, dtype=torch.bool)}).apply(net)
    if how == "torch.nn.utils.prune":
        prune.random_unstructured(net[2], "weight", 1.0)
    else:
        net[2].weight.data.zero_()
    return net


@pytest.mark.parametrize("how", ["masks", "torch.nn.utils.prune", "zero weights"])
def test_a_fully_pruned_layer_has_only_structural_zeros(how):
    result = jp.spectra(_dead(how), seeded_normal(3, 5), kind=KINDS)
    for spectrum in (result["2"], result.end_to_end):
        assert (spectrum.values == 0).all()
        assert spectrum.num_zeros == 15
        assert spectrum.floor == 0
        assert math.isnan(spectrum.cond)
    assert result["0"].num_zeros == 0


@pytest.mark.parametrize("structured", [True, False])
def test_pruned_rows_and_columns_count_as_structural(structured):
    weight = seeded_normal(6, 5)
    weight[:2] = 0
    weight[:, 3:] = 0
    net = nn.Sequential(_linear(weight), nn.Identity() if structured else _Turn())
    spectrum = jp.spectra(net, seeded_normal(2, 5), kind="end_to_end").end_to_end
    assert spectrum.zeros.tolist() == [2, 2]
    assert spectrum.method.startswith("factors" if structured else "autograd")


def test_a_matrix_has_at_most_the_rank_of_its_pattern():
    weight = torch.zeros(4, 4)
    weight[0, :] = 1.0
    weight[:, 0] = 2.0  # an arrow without its diagonal: no zero row or column, structural rank 2
    spectrum = jp.spectra(_linear(weight), seeded_normal(2, 4), kind="modules")["model"]
    assert spectrum.zeros.tolist() == [2, 2]


def test_a_layer_norm_loses_the_mean_and_the_scale():
    inputs = seeded_normal(3, 6, dtype=torch.float64)
    spectrum = jp.spectra(nn.LayerNorm(6, eps=0, dtype=torch.float64), inputs, kind="end_to_end").end_to_end
    sigma = inputs.std(1, correction=0, keepdim=True)
    expected = torch.cat([(1 / sigma).expand(-1, 4), torch.zeros(3, 2)], 1)
    assert_spectrum_close(spectrum.values, expected, floor=1e-13 * float(expected.max()))
    assert spectrum.num_zeros == 0  # by cancellation, not by structure
    assert spectrum.num_under_floor == 6


def test_the_identity_has_ones_and_no_layers():
    result = jp.spectra(nn.Identity(), seeded_normal(2, 3), kind=KINDS)
    assert [s.kind for s in result] == ["end_to_end"]
    assert torch.equal(result.end_to_end.values, torch.ones(2, 3, dtype=torch.float64))


def test_a_saturated_unit_keeps_a_floor_above_its_lost_derivative():
    net = nn.Sequential(_linear(torch.eye(3), torch.full((3,), 10.0)), nn.Tanh())
    spectrum = jp.spectra(net, torch.zeros(2, 3), kind="end_to_end").end_to_end
    true = 1 / math.cosh(10) ** 2
    assert (spectrum.values == 0).all()  # float32 rounds tanh(10) to 1
    assert true <= spectrum.floor < 100 * true


def test_an_input_whose_derivative_vanishes_spoils_no_floor():
    net = nn.Sequential(_linear(torch.eye(3)), nn.Tanh())
    inputs = torch.tensor([[0.1, 0.2, 0.3], [8.0, 8.0, 8.0]])  # 1 - tanh(8)^2 is 5e-7: rounding of 1 alone in float32
    spectrum = jp.spectra(net, inputs, kind="end_to_end").end_to_end
    true = -np.sort(-(1 / np.cosh(inputs.double().numpy()) ** 2), axis=1)
    assert_spectrum_close(spectrum.values, true, floor=spectrum.floor)
    assert spectrum.floor < 1e-4


@pytest.mark.parametrize("num_inputs", [5, 300, 513])
def test_inputs_are_not_taken_for_alike_because_the_surveyed_ones_are(num_inputs):
    net = nn.Sequential(_linear(torch.eye(2)), nn.ReLU(), _linear(torch.eye(2)), nn.ReLU())
    inputs = torch.ones(num_inputs, 2)
    inputs[num_inputs // 2 + 1, 0] = -1.0  # not among the first, nor among those evenly spread
    inputs[num_inputs - 2] = -1.0
    spectrum = jp.spectra(net, inputs, kind="end_to_end").end_to_end
    assert_spectrum_close(spectrum.values, -np.sort(-(inputs > 0).double().numpy(), axis=1), floor=0)


def test_repeated_values_that_the_solver_cannot_part_are_solved_by_qr(monkeypatch):
    net = nn.Sequential(_linear(seeded_normal(5, 4)), nn.Tanh(), nn.Softmax(1))
    inputs = seeded_normal(3, 4)
    plain = jp.spectra(net, inputs, kind=KINDS)

    def failing(*_args, **_kwargs):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(torch.linalg, "svdvals", failing)
    for one, other in zip(plain, jp.spectra(net, inputs, kind=KINDS), strict=True):
        assert_spectrum_close(other.values, one.values, floor=1e-14 * one.max)
        assert other.num_zeros == one.num_zeros
