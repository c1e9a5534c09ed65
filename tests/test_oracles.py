"""The oracle and its helper can fail."""

import numpy as np
import pytest
import torch
from oracles import SiteOracle, assert_spectrum_close, dense_jacobian, seeded_normal, singular_values
from torch import nn


def test_the_helper_passes_at_the_floor_and_fails_above_it():
    assert_spectrum_close([[2.0, 1.0]], [[2.0, 1.5]], floor=0.5)
    with pytest.raises(AssertionError, match=r"error 0.5 is above the floor 0.49"):
        assert_spectrum_close([[2.0, 1.0]], [[2.0, 1.5]], floor=0.49)


def test_the_helper_fails_on_another_shape_an_increasing_row_and_a_nan():
    with pytest.raises(AssertionError):
        assert_spectrum_close([[2.0, 1.0]], [[2.0]], floor=9)
    with pytest.raises(AssertionError, match="rows must decrease"):
        assert_spectrum_close([[1.0, 2.0]], [[1.0, 2.0]], floor=9)
    with pytest.raises(AssertionError):
        assert_spectrum_close([[1.0, float("nan")]], [[1.0, 2.0]], floor=9)
    with pytest.raises(AssertionError):
        assert_spectrum_close([[1.0]], [[1.0]], floor=float("nan"))


def test_the_oracles_find_the_matrix_of_a_linear_layer():
    net = nn.Linear(4, 3)
    inputs = seeded_normal(2, 4, dtype=torch.float64)
    assert torch.equal(dense_jacobian(net.double(), inputs), net.weight.detach().expand(2, -1, -1))
    assert torch.equal(SiteOracle(net, inputs).jacobian("input", "output"), net.weight.detach().expand(2, -1, -1))


def test_the_oracle_sees_a_tensor_before_it_is_changed_in_place():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    oracle = SiteOracle(net, seeded_normal(2, 3))
    assert (oracle.jacobian("0", "output") == torch.diag_embed(oracle.jacobian("0", "output").sum(2))).all()
    assert (oracle.jacobian("input", "0") == net[0].weight.detach().double()).all()


def test_singular_values_are_those_of_a_diagonal():
    assert np.array_equal(singular_values(torch.diag(torch.tensor([1.0, -3, 2])).unsqueeze(0)), [[3, 2, 1]])
