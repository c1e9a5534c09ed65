import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.isometry.initialisers.givens import sparse_orthogonal


def defect(matrix):
    """Largest entry of the smaller Gram matrix less the identity."""
    matrix = np.asarray(matrix)
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return np.abs(gram - np.eye(len(gram))).max()



@pytest.mark.parametrize("density", [0.01, 0.0101, 0.02, 0.05, 0.1, 0.3, 0.5, 0.9, 0.99, 0.9999, 1.0])
@pytest.mark.parametrize("shape", [(100, 100), (100, 30), (30, 100)], ids=["square", "wide", "tall"])
def test_weights_are_exactly_orthogonal_and_exactly_as_sparse_as_asked(shape, density):
    net = jp.initialize(nn.Linear(*shape).double(), "eoi", density=density)
    matrix, masks = net.weight.detach(), jp.Masks.of(net)
    assert masks.num_kept == round(density * shape[0] * shape[1])
    assert not matrix[~masks["weight"]].any()
    assert defect(matrix) <= 1e-12
    assert not net.bias.any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_every_count_that_a_matrix_can_have_is_met_or_nearly(rows, cols, share, seed):
    least, size = min(rows, cols), rows * cols
    num_kept = least + round(share * (size - least))
    matrix, support = sparse_orthogonal(rows, cols, num_kept, torch.Generator().manual_seed(seed))
    assert defect(matrix) <= 1e-12
    assert torch.equal(matrix != 0, support)
    assert 0 <= num_kept - int(support.sum()) <= max(rows, cols)


def test_counts_by_rotations_are_as_asked_where_there_are_many_to_choose_from():
    for num_kept in (100, 1000, 3001, 9000):
        _, support = sparse_orthogonal(100, 100, num_kept, torch.Generator().manual_seed(1))
        assert int(support.sum()) == num_kept


def test_the_lowest_density_is_a_signed_permutation():
    weight = jp.initialize(nn.Linear(20, 20), "eoi", density=1 / 20).weight.detach()
    assert sorted(weight.abs().unique().tolist()) == [0, 1]
    assert (weight.abs().sum(0) == 1).all() and (weight.abs().sum(1) == 1).all()
    assert not torch.equal(weight.abs(), torch.eye(20))


def test_one_kept_weight_more_than_a_permutation_is_kept_at_zero():
    net = jp.initialize(nn.Linear(20, 20), "eoi", density=21 / 400)
    assert jp.Masks.of(net).num_kept == 21
    assert int(net.weight.count_nonzero()) == 20  # no orthogonal matrix has 21


def test_full_density_leaves_no_zero_and_spreads_as_a_haar_matrix():
    weight = jp.initialize(nn.Linear(100, 100).double(), "eoi", density=1.0).weight.detach()
    assert int(weight.count_nonzero()) == 10_000
    columns = (weight**4).sum(0)  # 3 / (n + 2) for a Haar matrix, 1 for a permutation
    assert columns.mean() < 0.1


def test_all_singular_values_are_the_gain_in_the_probe():
    net = jp.initialize(nn.Linear(30, 20).double(), "eoi", density=0.2, gain=1.5)
    values = jp.spectra(net, torch.zeros(2, 30, dtype=torch.float64)).end_to_end.values
    assert float((values - 1.5).abs().max()) <= 1e-12


def test_a_layer_reads_inputs_from_everywhere():
    mask = jp.Masks.of(jp.initialize(nn.Linear(784, 100), "eoi", density=0.01))["weight"]
    assert mask.any(0)[392:].sum() > 100


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_a_convolution_is_delta_orthogonal_with_the_rest_kept_at_zero(density):
    net = jp.initialize(nn.Conv2d(12, 16, 3).double(), "eoi", density=density)
    mask, weight = jp.Masks.of(net)["weight"], net.weight.detach()
    assert int(mask.sum()) == round(density * 12 * 16 * 9)
    assert defect(weight[:, :, 1, 1]) <= 1e-12
    weight[:, :, 1, 1] = 0
    assert not weight.any()
    core = int(mask[:, :, 1, 1].sum())
    assert core == min(int(mask.sum()), 12 * 16)  # the middle tap comes first


def test_groups_are_orthogonal_each():
    net = jp.initialize(nn.Conv2d(8, 12, 1, groups=2).double(), "eoi", density=0.3)
    assert jp.Masks.of(net).num_kept == round(0.3 * 48)
    for block in net.weight.detach().flatten(1).chunk(2):
        assert defect(block) <= 1e-12


def test_densities_may_be_given_by_name_and_others_stay_dense():
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 4))
    masks = jp.Masks.of(jp.initialize(net, "eoi", density={"0.weight": 0.3}))
    assert list(masks) == ["0.weight"]
    assert masks.num_kept == 30


def test_the_masks_of_another_method_set_the_densities():
    net = jp.build("mlp-3-tanh", input_shape=(1, 4, 4))
    other = jp.prune(net, "magnitude", sparsity=0.7)
    sparse = jp.initialize(net, "eoi", density={name: 1 - share for name, share in other.layer_sparsity().items()})
    masks = jp.Masks.of(sparse)
    assert {name: int(masks[name].sum()) for name in masks} == {name: int(other[name].sum()) for name in other}


def test_tied_weights_stay_tied_and_share_their_mask():
    net = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    net[1].weight = net[0].weight
    sparse = jp.initialize(net.double(), "eoi", density=0.4)
    assert torch.equal(sparse[0].weight, sparse[1].weight)
    assert defect(sparse[0].weight.detach()) <= 1e-12


# bad input


@pytest.mark.parametrize("density", [0, -0.1, 1.5, float("nan")])
def test_the_density_must_be_a_share(density):
    with pytest.raises(ArgumentError, match=r"`density` must be in \(0, 1\]; got .+\. It is the kept share"):
        jp.initialize(nn.Linear(4, 4), "eoi", density=density)


def test_too_low_a_density_cannot_be_orthogonal():
    with pytest.raises(ArgumentError, match=r"`density` must be at least 0\.01 for 'weight', or it cannot be"
                                            r" orthogonal; got 0\.002\. It needs 10 of 1000 weights\."):
        jp.initialize(nn.Linear(100, 10), "eoi", density=0.002)


def test_densities_must_be_numbers_of_layers():
    net = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(UnknownNameError, match=r"`density` must be one of 0\.weight; got '0'\..* They are weights of"):
        jp.initialize(net, "eoi", density={"0": 0.5})
    with pytest.raises(DtypeError, match=r"`density` must be a number, or numbers by name of the weight; got 'low'"):
        jp.initialize(net, "eoi", density="low")


def test_the_density_is_needed():
    with pytest.raises(ArgumentError, match=r"method 'eoi'; got none: missing a required argument: 'density'"):
        jp.initialize(nn.Linear(4, 4), "eoi")
