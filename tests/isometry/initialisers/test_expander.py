import math

import numpy as np
import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError
from jacprobe.isometry.initialisers.biregular import expanding_graph, second_value


def sparse(layer, **arguments):
    """The weight, float64, and the mask of one layer."""
    net = jp.initialize(layer.double(), "sao", **arguments)
    return net.weight.detach(), jp.Masks.of(net)["weight"]


@pytest.mark.parametrize("degree", [2, 4, 8, 10, 16, 25, 50, 100])
def test_a_square_layer_is_orthogonal_on_a_regular_graph(degree):
    weight, mask = sparse(nn.Linear(100, 100), degree=degree)
    assert (mask.sum(0) == degree).all() and (mask.sum(1) == degree).all()
    assert torch.equal(weight != 0, mask)
    assert (weight @ weight.T - torch.eye(100).double()).abs().max() <= 1e-14


@pytest.mark.parametrize(("rows", "cols"), [(30, 120), (120, 30), (20, 100), (10, 24)])
def test_a_rectangular_layer_has_that_degree_on_its_narrow_side_and_nearly_equal_ones_on_the_other(rows, cols):
    weight, mask = sparse(nn.Linear(cols, rows), degree=8)
    weight, mask = (weight, mask) if rows <= cols else (weight.T, mask.T)
    assert (mask.sum(1) == 8).all()
    assert (weight @ weight.T - torch.eye(len(weight)).double()).abs().max() <= 1e-14
    mean = 8 * mask.shape[0] / mask.shape[1]
    assert mask.any(0).all() or mean < 2
    assert mask.sum(0).double().sub(mean).abs().max() < 4


def test_degrees_are_equal_on_both_sides_where_they_can_be():
    _, mask = sparse(nn.Linear(120, 30), degree=16)
    assert (mask.sum(0) == 4).all()


@pytest.mark.parametrize("degree", [9, 16, 36, 64])
def test_the_mask_expands_as_a_ramanujan_graph_of_its_blocks_allows(degree):
    _, mask = sparse(nn.Linear(144, 144), degree=degree)
    values = np.linalg.svd(mask.double().numpy(), compute_uv=False)
    size = math.isqrt(degree)
    assert values[0] == pytest.approx(degree)
    assert values[1] <= size * 2 * math.sqrt(size - 1) * (1 + 1e-9)  # sqrt(degree) times that of the graph of blocks
    assert values[1] < 0.95 * values[0]  # connected, with a gap


def test_a_prime_degree_falls_into_complete_blocks():
    _, mask = sparse(nn.Linear(21, 21), degree=7)
    assert sorted(np.linalg.svd(mask.double().numpy(), compute_uv=False).round(9))[-4:] == [0, 7, 7, 7]


def test_a_convolution_keeps_whole_kernels_and_is_delta_orthogonal():
    weight, mask = sparse(nn.Conv2d(8, 16, 3), degree=4)
    assert mask.flatten(2).any(2).equal(mask.flatten(2).all(2))
    assert int(mask.sum()) == 8 * 4 * 9
    centre = weight[:, :, 1, 1]
    assert (centre.T @ centre - torch.eye(8).double()).abs().max() <= 1e-14
    assert int(weight.count_nonzero()) == 32


def test_groups_and_gain():
    weight, mask = sparse(nn.Conv2d(16, 16, 1, groups=2), degree=4, gain=1.5)
    assert (mask.flatten(1).sum(1) == 4).all()
    for block in weight.flatten(1).chunk(2):
        assert (block @ block.T - 2.25 * torch.eye(8).double()).abs().max() <= 1e-14


def test_with_a_density_every_layer_has_the_nearest_degree():
    net = nn.Sequential(nn.Linear(784, 100), nn.Linear(100, 100), nn.Linear(100, 10))
    masks = jp.Masks.of(jp.initialize(net, "sao", density=0.1))
    degrees = {name: set(mask.sum(1).tolist()) for name, mask in masks.items()}
    assert degrees == {"0.weight": {64}, "1.weight": {10}, "2.weight": {10}}  # of 64, 98, ... the one near 78.4


def test_the_probe_sees_an_isometry():
    net = jp.initialize(nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 16)).double(), "sao", degree={"0.weight": 4})
    values = jp.spectra(net, torch.zeros(1, 32, dtype=torch.float64), kind="end_to_end").end_to_end.values
    assert float((values - 1).abs().max()) <= 1e-12
    assert list(jp.Masks.of(net)) == ["0.weight"]


# the graph


@pytest.mark.parametrize(("num_left", "left", "num_right", "right"), [(12, 3, 12, 3), (20, 3, 12, 5), (4, 6, 6, 4)])
def test_a_graph_is_simple_and_biregular(num_left, left, num_right, right):
    edges = expanding_graph(num_left, left, num_right, right, torch.Generator().manual_seed(0))
    assert len({tuple(edge) for edge in edges.tolist()}) == num_left * left
    assert np.bincount(edges[:, 0]).tolist() == [left] * num_left
    assert np.bincount(edges[:, 1]).tolist() == [right] * num_right


def test_a_graph_of_degree_two_is_one_cycle():
    edges = expanding_graph(50, 2, 50, 2, torch.Generator().manual_seed(0))
    assert second_value(edges, 50, 50) == pytest.approx(2 * math.cos(math.pi / 50))


def test_the_second_value_of_a_large_graph_is_that_of_the_whole_decomposition():
    edges = expanding_graph(400, 4, 400, 4, torch.Generator().manual_seed(0))
    adjacency = np.zeros((400, 400))
    adjacency[edges[:, 0], edges[:, 1]] = 1
    assert second_value(edges, 400, 400) == pytest.approx(np.linalg.svd(adjacency, compute_uv=False)[1], rel=1e-9)


def test_a_graph_in_two_pieces_has_its_first_value_twice():
    edges = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [2, 3], [3, 2], [3, 3]])
    assert second_value(edges, 4, 4) == pytest.approx(2)
    assert second_value(np.array([[0, 0], [0, 1]]), 1, 2) == 0


# bad input


def test_a_degree_or_a_density_is_needed():
    with pytest.raises(ArgumentError, match=r"`degree` or `density` must be given, one of them; got None and None"):
        jp.initialize(nn.Linear(4, 4), "sao")
    with pytest.raises(ArgumentError, match=r"one of them; got 2 and 0\.5"):
        jp.initialize(nn.Linear(4, 4), "sao", degree=2, density=0.5)


@pytest.mark.parametrize("degree", [0, 101, 2.5, float("nan")])
def test_a_degree_is_at_most_the_width(degree):
    with pytest.raises(ArgumentError, match=r"`degree` must be a whole number from 1 to 100, the wide side of"):
        jp.initialize(nn.Linear(100, 10), "sao", degree=degree)


def test_a_degree_that_blocks_cannot_have_is_refused_with_those_they_can():
    with pytest.raises(ArgumentError, match=r"must be a product of two divisors of 100, the wide side of 'weight'; got"
                                            r" 7\. Nearest are 4, 5, 8, 10\."):
        jp.initialize(nn.Linear(100, 100), "sao", degree=7)


@pytest.mark.parametrize(("density", "match"), [(0, r"in \(0, 1\]; got 0\."), (1.5, r"in \(0, 1\]; got 1\.5"),
                                                (0.001, r"at least 0\.01 for 'weight', or it cannot be orthogonal")])
def test_a_density_must_allow_one_weight_per_unit(density, match):
    with pytest.raises(ArgumentError, match=rf"`density` must be {match}"):
        jp.initialize(nn.Linear(100, 10), "sao", density=density)


def test_a_density_far_from_all_degrees_is_refused():
    with pytest.raises(ArgumentError, match=r"within a factor of 2 of one that 'weight' can have; got 0\.3, and 0\.0099"
                                            r" is the nearest\. Degrees are products of two divisors of .*101"):
        jp.initialize(nn.Linear(101, 13), "sao", density=0.3)
    assert jp.Masks.of(jp.initialize(nn.Linear(101, 13), "sao", density=0.7)).sparsity == 0
