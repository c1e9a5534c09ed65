import numpy as np
import pytest
import torch
from oracles import dense_jacobian, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError

CIRCULAR = {"padding_mode": "circular"}
ZERO = {}


def jacobian_values(layer, shape, method, **arguments):
    """Singular values of the Jacobian of a freshly initialised layer, row by row by autograd, in float64."""
    layer = jp.initialize(layer.double(), method, **arguments)
    return singular_values(dense_jacobian(layer, torch.zeros(1, *shape, dtype=torch.float64)))[0]


EXACT = {  # layer, shape of the input: conv-orthogonal is an isometry
    "equal channels": (nn.Conv2d(4, 4, 3, padding=1, **CIRCULAR), (4, 5, 5)),
    "more outputs": (nn.Conv2d(2, 5, 3, padding=1, **CIRCULAR), (2, 4, 4)),
    "fewer outputs": (nn.Conv2d(5, 2, 5, padding=2, **CIRCULAR), (5, 5, 5)),
    "one channel": (nn.Conv2d(1, 1, 3, padding=1, **CIRCULAR), (1, 4, 4)),
    "unequal kernel": (nn.Conv2d(3, 3, (3, 5), padding=(1, 2), **CIRCULAR), (3, 4, 5)),
    "even kernel": (nn.Conv1d(3, 4, 4, padding="same", **CIRCULAR), (3, 7)),
    "kernel as large as the input": (nn.Conv1d(3, 3, 7, padding=3, **CIRCULAR), (3, 7)),
    "kernel of 1": (nn.Conv2d(3, 4, 1), (3, 2, 2)),
    "three axes": (nn.Conv3d(2, 3, 3, padding=1, **CIRCULAR), (2, 3, 3, 3)),
    "groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2, **CIRCULAR), (4, 3, 3)),
    "depthwise": (nn.Conv2d(3, 3, 3, padding=1, groups=3, **CIRCULAR), (3, 4, 4)),
    "dilation": (nn.Conv2d(3, 4, 3, padding=2, dilation=2, **CIRCULAR), (3, 5, 5)),
    "stride, fewer outputs": (nn.Conv2d(4, 3, 3, stride=2, padding=1, **CIRCULAR), (4, 4, 4)),
    "stride, more outputs": (nn.Conv2d(2, 4, 3, stride=2, padding=1, **CIRCULAR), (2, 6, 6)),
    "stride, more outputs than a patch": (nn.Conv2d(2, 9, 3, stride=2, padding=1, **CIRCULAR), (2, 4, 4)),
    "stride in a larger kernel": (nn.Conv1d(2, 3, 7, stride=3, padding=3, **CIRCULAR), (2, 9)),
    "stride and dilation": (nn.Conv1d(2, 5, 5, stride=3, padding=4, dilation=2, **CIRCULAR), (2, 9)),
    "no padding, fewer outputs": (nn.Conv2d(4, 3, 3, **ZERO), (4, 4, 4)),
    "full zero padding, more outputs": (nn.Conv2d(3, 4, 3, padding=2, **ZERO), (3, 3, 3)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3), (3, 3, 3)),
    "transposed with groups": (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 3, 3)),
    "transposed with stride": (nn.ConvTranspose2d(8, 2, 2, stride=2), (8, 2, 2)),
    "linear": (nn.Linear(5, 3), (5,)),
}


@pytest.mark.parametrize(("layer", "shape"), EXACT.values(), ids=EXACT)
def test_a_convolution_is_an_isometry(layer, shape):
    values = jacobian_values(layer, shape, "conv-orthogonal")
    assert np.abs(values - 1).max() <= 1e-12


def test_all_singular_values_are_the_gain():
    values = jacobian_values(nn.Conv2d(3, 4, 3, padding=1, **CIRCULAR), (3, 4, 4), "conv-orthogonal", gain=-1.5)
    assert np.abs(values - 1.5).max() <= 1e-12


def test_every_tap_of_the_kernel_is_used():
    weight = jp.initialize(nn.Conv2d(6, 6, (3, 5)), "conv-orthogonal").weight
    assert weight.abs().amax((0, 1)).min() > 1e-3


def test_same_zero_padding_loses_energy_at_the_borders_and_never_gains():
    values = jacobian_values(nn.Conv2d(4, 4, 3, padding=1), (4, 5, 5), "conv-orthogonal")
    assert values.max() <= 1 + 1e-12
    assert values.min() < 0.9
    assert np.isclose(values, 1).mean() > 0.5  # the inside


def test_inputs_that_no_tap_reads_have_the_value_zero():
    values = jacobian_values(nn.Conv2d(2, 3, 1, stride=2), (2, 4, 4), "conv-orthogonal")
    assert np.abs(values[:8] - 1).max() <= 1e-12  # 2 channels at 2 x 2 positions
    assert np.abs(values[8:]).max() <= 1e-12


def test_a_flattened_orthogonal_kernel_is_no_isometry():
    values = jacobian_values(nn.Conv2d(8, 8, 3, padding=1, **CIRCULAR), (8, 5, 5), "orthogonal")
    assert values.max() > 1.5
    assert values.min() < 0.5


def test_the_probe_agrees_and_says_so_end_to_end():
    blocks = [nn.Conv2d(3, 6, 3, padding=1, **CIRCULAR), nn.Conv2d(6, 6, 3, padding=1, **CIRCULAR), nn.Flatten()]
    net = jp.initialize(nn.Sequential(*blocks), "conv-orthogonal")
    result = jp.spectra(net, torch.zeros(1, 3, 5, 5), kind="end_to_end", accuracy="reference")
    assert float((result.end_to_end.values - 1).abs().max()) <= 1e-6  # the weights are float32


# delta-orthogonal

DELTA = {  # layer, shape of the input, number of singular values at 1; the others are 0
    "zero padding": (nn.Conv2d(4, 4, 3, padding=1), (4, 5, 5), 100),
    "zero padding, more outputs": (nn.Conv2d(3, 5, 5, padding=2), (3, 4, 4), 48),
    "zero padding, fewer outputs": (nn.Conv2d(5, 3, 3, padding=1), (5, 4, 4), 48),
    "circular padding": (nn.Conv2d(3, 4, 3, padding=1, **CIRCULAR), (3, 4, 4), 48),
    "even kernel, same circular padding": (nn.Conv1d(3, 4, 4, padding="same", **CIRCULAR), (3, 5), 15),
    "even kernel, same zero padding": (nn.Conv1d(3, 4, 4, padding="same"), (3, 5), 15),
    "even kernel, one position more": (nn.Conv2d(3, 3, 4, padding=2), (3, 4, 4), 48),
    "no padding, fewer outputs": (nn.Conv2d(4, 3, 3), (4, 4, 4), 12),
    "no padding, equal outputs": (nn.Conv2d(3, 3, 3), (3, 4, 4), 12),
    "three axes": (nn.Conv3d(2, 3, 3, padding=1), (2, 3, 3, 3), 54),
    "groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 3, 3), 36),
    "depthwise": (nn.Conv2d(3, 3, 3, padding=1, groups=3), (3, 3, 3), 27),
    "stride, fewer outputs": (nn.Conv2d(4, 3, 3, stride=2, padding=1), (4, 4, 4), 12),
    "stride, more outputs: a quarter is read": (nn.Conv2d(2, 6, 3, stride=2, padding=1), (2, 4, 4), 8),
    "transposed": (nn.ConvTranspose2d(3, 4, 3), (3, 3, 3), 27),
    "linear": (nn.Linear(5, 3), (5,), 3),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("layer", "shape", "num_ones"), DELTA.values(), ids=DELTA)
def test_delta_orthogonal_reads_one_position_by_an_isometry(layer, shape, num_ones):
    values = jacobian_values(layer, shape, "delta-orthogonal")
    assert np.abs(values[:num_ones] - 1).max() <= 1e-12
    assert np.abs(values[num_ones:]).max(initial=0) <= 1e-12


def test_delta_orthogonal_is_zero_off_the_middle():
    weight = jp.initialize(nn.Conv2d(4, 6, (3, 4)).double(), "delta-orthogonal", gain=2.0).weight.detach()
    assert weight.abs().amax((0, 1)).count_nonzero() == 1
    assert torch.linalg.svdvals(weight[:, :, 1, 1]).allclose(torch.tensor(2.0).double())


# bad input


@pytest.mark.parametrize("method", ["conv-orthogonal", "delta-orthogonal"])
def test_the_gain_must_be_finite(method):
    with pytest.raises(ArgumentError, match=r"`gain` must be finite; got nan\. 1 keeps the rows or columns"):
        jp.initialize(nn.Conv2d(2, 2, 3), method, gain=float("nan"))
