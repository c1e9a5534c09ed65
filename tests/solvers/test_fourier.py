"""Values of circular and pointwise convolutions by frequencies, against NumPy's SVD of the dense matrix."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import assert_spectrum_close, dense_jacobian, seeded_normal, singular_values
from torch import nn

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.linop import Convolution
from jacprobe.solvers.fourier import circular_values, taps_of, torus_operations, why_not_circular

MODULES = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def _weight(*shape, seed=0):
    return seeded_normal(*shape, seed=seed, dtype=torch.float64)


def _assert_values(operator, matrix, **scales):
    values, zeros = circular_values(operator, **scales)
    expected = singular_values(matrix)
    assert values.dtype == torch.float64
    assert_spectrum_close(values[None], expected[None], floor=1e-12 * max(expected[0], 1e-300))
    assert zeros <= (expected <= 1e-12 * expected[0]).sum()
    assert (values[len(values) - zeros :] == 0).all()
    return zeros


def _circular(shape, image, options):
    channels = shape[0] if options.get("transposed") else shape[1] * options.get("groups", 1)
    return Convolution(_weight(*shape), (channels, *image), padding_mode="circular", **options)


CONFIGURATIONS = {  # (weight, image, settings)
    "one dimension": ((3, 2, 3), (7,), {"padding": 1}),
    "odd kernel": ((3, 2, 3, 3), (5, 6), {"padding": 1}),
    "even kernel": ((2, 3, 2, 4), (5, 4), {"padding": "same"}),
    "three dimensions": ((2, 3, 3, 1, 3), (3, 4, 5), {"padding": (1, 0, 1)}),
    "wide": ((1, 6, 3, 3), (4, 4), {"padding": 1}),
    "tall": ((6, 1, 3, 3), (4, 4), {"padding": 1}),
    "stride 2": ((4, 2, 3, 3), (6, 4), {"padding": 1, "stride": 2}),
    "stride 2 of few channels": ((2, 5, 3, 3), (6, 4), {"padding": 1, "stride": 2}),
    "stride 3": ((5, 2, 3, 3), (6, 3), {"padding": 1, "stride": 3}),
    "a stride per axis": ((3, 2, 3, 3), (6, 5), {"padding": 1, "stride": (2, 1)}),
    "kernel 1 with stride": ((3, 2, 1, 1), (6, 4), {"stride": 2}),
    "dilation": ((3, 3, 3, 3), (6, 5), {"padding": 2, "dilation": 2}),
    "dilation and stride": ((3, 3, 3, 3), (6, 6), {"padding": 3, "dilation": 3, "stride": 2}),
    "groups": ((4, 2, 3, 3), (4, 5), {"padding": 1, "groups": 2}),
    "depthwise": ((4, 1, 3, 3), (4, 5), {"padding": 1, "groups": 4}),
    "groups and stride": ((4, 3, 3, 3), (4, 6), {"padding": 1, "groups": 2, "stride": 2}),
    "kernel larger than the image": ((2, 2, 7, 5), (3, 2), {"padding": "same"}),
    "image of one pixel": ((2, 3, 3, 3), (1, 1), {"padding": 1}),
    "transposed": ((3, 2, 3, 3), (4, 5), {"padding": 1, "transposed": True}),
    "transposed with stride": ((3, 2, 3, 3), (2, 3), {"padding": 1, "transposed": True, "stride": 2,
                                                      "output_padding": 1}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_values_are_those_of_the_dense_matrix(name):
    operator = _circular(*CONFIGURATIONS[name])
    assert why_not_circular(operator) == ""
    zeros = _assert_values(operator, operator.dense()[0])
    assert zeros == (6 if name == "kernel 1 with stride" else 0)  # of 4 phases 3 are never read


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_random_configurations_agree_with_the_real_module(data):
    """The oracle is the Jacobian of the torch module row by row."""
    num_axes = data.draw(st.integers(1, 3))
    largest = {1: 9, 2: 5, 3: 3}[num_axes]

    def per_axis(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(num_axes))

    stride, small, kernel, dilation = per_axis(1, 3), per_axis(1, largest), per_axis(1, 4), per_axis(1, 3)
    groups, out, into = (data.draw(st.integers(1, 3)) for _ in range(3))
    image = tuple(s * n for s, n in zip(stride, small, strict=True))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(-(-r // 2) for r in reach)  # with stride 1 an odd reach gives one pixel too many
    assume(all(p <= n for p, n in zip(padding, image, strict=True)) and math.prod(image) <= 200)
    if set(stride) == {1} and data.draw(st.booleans()):
        padding = "same"
    with warnings.catch_warnings(action="ignore"):  # "same" with an even kernel copies
        module = MODULES[num_axes](groups * into, groups * out, kernel, stride, padding, dilation, groups, bias=False,
                                   padding_mode="circular").double()
        module.weight.data = _weight(*module.weight.shape, seed=data.draw(st.integers(0, 99)))
        sample = torch.zeros(1, groups * into, *image, dtype=torch.float64)
        out_shape = module(sample)[0].shape
        jacobian = dense_jacobian(module, sample)[0]
    operator = Convolution.of_module(module, module.weight, sample.shape[1:], out_shape)
    assume(why_not_circular(operator) == "")
    _assert_values(operator, jacobian)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_orthogonal_kernel_has_only_ones(stride):
    """Delta-orthogonal: only the centre tap, an orthogonal matrix (Xiao et al. 2018); eigenvalues repeat fully."""
    weight = torch.zeros(24, 24, 3, 3, dtype=torch.float64)
    weight[:, :, 1, 1] = torch.linalg.qr(_weight(24, 24)).Q
    operator = Convolution(weight, (24, 8, 8), padding=1, padding_mode="circular", stride=stride)
    values, zeros = circular_values(operator)
    assert values.shape == (24 * 64 // stride**2,)
    assert zeros == 0
    np.testing.assert_allclose(values, 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (3, 1), (2, 2)])
def test_a_pointwise_kernel_repeats_the_values_of_its_matrix(stride, groups):
    operator = Convolution(_weight(4, 6 // groups, 1, 1), (6, 5, 7), stride=stride, groups=groups)
    zeros = _assert_values(operator, operator.dense()[0])
    assert zeros == min(operator.shape[1:]) - 4 * operator.copies
    assert circular_values(operator)[0].unique().numel() <= 4 + 1


@pytest.mark.parametrize("transposed", [False, True])
def test_channel_factors_act_as_diagonals_on_both_sides(transposed):
    channels = (4, 6) if transposed else (6, 4)  # into, out of; 2 groups
    weight = _weight(4, 3, 3, 3)
    operator = Convolution(weight, (channels[0], 3, 5), padding=1, padding_mode="circular", groups=2,
                           transposed=transposed)
    left, right = _weight(channels[1], seed=1).float(), _weight(channels[0], seed=2).float()
    matrix = left.double().repeat_interleave(15)[:, None] * operator.dense()[0] * right.double().repeat_interleave(15)
    _assert_values(operator, matrix, left=left, right=right)


@pytest.mark.parametrize(("shape", "stride"), [((8, 6, 3, 3), 1), ((6, 8, 3, 3), 1), ((8, 6, 3, 3), 2), ((8, 1, 3), 1)])
def test_zero_channels_give_zeros_that_are_counted(shape, stride):
    weight, groups = _weight(*shape), 1 if shape[1] > 1 else shape[0]
    weight[[1, 4, 5]] = 0
    if groups == 1:
        weight[:, [0, 2]] = 0
    operator = Convolution(weight, (groups * shape[1], *(4,) * (len(shape) - 2)), padding=1, padding_mode="circular",
                           stride=stride, groups=groups)
    matrix = operator.dense()[0]
    assert _assert_values(operator, matrix) == min(matrix.shape) - np.linalg.matrix_rank(matrix) > 0


def test_groups_with_different_numbers_of_zero_channels_are_each_counted():
    weight = _weight(6, 3, 3)
    weight[[0, 1, 5]] = 0  # group 0 keeps one row, group 1 two
    operator = Convolution(weight, (6, 7), padding=1, padding_mode="circular", groups=2)
    assert _assert_values(operator, operator.dense()[0]) == 42 - 3 * 7


def test_a_zero_kernel_has_only_structural_zeros():
    operator = Convolution(torch.zeros(3, 2, 3), (2, 5), padding=1, padding_mode="circular")
    values, zeros = circular_values(operator)
    assert zeros == 10
    assert torch.equal(values, torch.zeros(10, dtype=torch.float64))


@pytest.mark.parametrize("smallest", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_values_are_solved_again_without_squares(smallest):
    """Kernels with the chosen values at every frequency: the centre tap alone, and a rank-deficient blur besides."""
    chosen = torch.logspace(0, math.log10(smallest), 10, dtype=torch.float64)
    left, right = torch.linalg.qr(_weight(10, 10)).Q, torch.linalg.qr(_weight(10, 10, seed=1)).Q
    weight = torch.zeros(10, 10, 3, dtype=torch.float64)
    weight[:, :, 1] = left @ chosen.diag() @ right
    values, zeros = circular_values(Convolution(weight, (10, 12), padding=1, padding_mode="circular"))
    np.testing.assert_allclose(values, chosen.repeat_interleave(12), rtol=0, atol=1e-12)
    assert zeros == 0
    weight[:, :, 0] = weight[:, :, 1]  # 1 + exp(i theta): zero at the frequency of half the size
    operator = Convolution(weight, (10, 12), padding=1, padding_mode="circular")
    _assert_values(operator, operator.dense()[0])


def test_a_routine_that_fails_is_replaced_by_another(monkeypatch):
    """LAPACK's divide and conquer has failed on repeated values, as those of isometries (pytorch#28293)."""
    weight = _weight(4, 3, 3, 3)
    operator = Convolution(weight, (3, 4, 6), padding=1, padding_mode="circular")
    svdvals = torch.linalg.svdvals

    def fails(matrices):
        if matrices.is_complex():
            raise torch.linalg.LinAlgError
        return svdvals(matrices)

    monkeypatch.setattr(torch.linalg, "eigvalsh", fails)
    _assert_values(operator, operator.dense()[0])
    monkeypatch.setattr(torch.linalg, "svdvals", fails)
    _assert_values(operator, operator.dense()[0])


@pytest.mark.parametrize("shape", [(48, 40, 3, 3), (40, 48, 5, 5)])
def test_many_channels_agree_with_a_transform_by_numpy(shape):
    operator = Convolution(_weight(*shape), (shape[1], 8, 8), padding=shape[2] // 2, padding_mode="circular")
    symbols = np.fft.fft2(operator.weight.numpy(), (8, 8)).transpose(2, 3, 0, 1)
    expected = np.sort(np.linalg.svd(symbols, compute_uv=False).ravel())[::-1]
    assert_spectrum_close(circular_values(operator)[0][None], expected[None], floor=1e-12 * expected[0])


def test_values_of_a_float32_kernel_are_those_of_its_exact_numbers():
    weight = _weight(3, 3, 3, 3).float()
    single, double = (Convolution(w, (3, 6, 6), padding=1, padding_mode="circular") for w in (weight, weight.double()))
    assert torch.equal(circular_values(single)[0], circular_values(double)[0])


def test_the_squares_sum_to_the_squared_norm_of_the_matrix():
    operator = Convolution(_weight(4, 5, 3, 3), (5, 6, 6), padding=1, padding_mode="circular", stride=2)
    total = operator.norms_squared("rows").sum()
    torch.testing.assert_close(circular_values(operator)[0].square().sum(), total, rtol=1e-12, atol=0)


def test_threads_and_the_generator_are_left_as_they_were():
    before, state = torch.get_num_threads(), torch.get_rng_state()
    circular_values(Convolution(_weight(32, 32, 3, 3), (32, 16, 16), padding=1, padding_mode="circular"))
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"padding": 1}, "with zeros padding"),
        ({"padding": 1, "padding_mode": "reflect"}, "with reflect padding"),
        ({}, "without padding"),
        ({"padding_mode": "circular"}, r"that takes \(5, 5\) pixels to \(3, 3\) with stride \(1, 1\)"),
        ({"padding": 1, "padding_mode": "circular", "stride": 2}, r"\(5, 5\) pixels to \(3, 3\) with stride \(2, 2\)"),
    ],
)
def test_other_convolutions_are_refused_with_the_reason(options, reason):
    operator = Convolution(_weight(2, 2, 3, 3), (2, 5, 5), **options)
    with pytest.raises(ArgumentError, match=f"`operator` must be a circular or a pointwise.* got one .*{reason}"):
        circular_values(operator)


def test_a_kernel_that_is_not_finite_is_refused():
    weight = _weight(2, 2, 3)
    weight[0, 0, 0] = math.nan
    with pytest.raises(NonFiniteError):
        circular_values(Convolution(weight, (2, 5), padding=1, padding_mode="circular"))


def test_a_stride_makes_more_channels_of_fewer_pixels():
    operator = Convolution(_weight(4, 2, 3, 3), (2, 6, 6), padding=1, padding_mode="circular", stride=2)
    taps = taps_of(operator)
    assert taps.kernel.shape == (1, 4, 8, 4)
    assert taps.offsets.tolist() == [[-1, -1], [-1, 0], [0, -1], [0, 0]]
    assert torus_operations(operator, (6, 6)) == 4 * torus_operations(operator)
