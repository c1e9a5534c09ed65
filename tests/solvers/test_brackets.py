"""Intervals for the values of convolutions must hold against NumPy's SVD of the dense matrix, and be narrow."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import seeded_normal, singular_values

from jacprobe.errors import JacprobeError, NonFiniteError, ShapeError
from jacprobe.linop import Convolution
from jacprobe.solvers.brackets import bounds_operations, convolution_bounds, scaled_bounds, supremum
from jacprobe.solvers.fourier import taps_of


def _weight(*shape, seed=0):
    return seeded_normal(*shape, seed=seed, dtype=torch.float64) / math.prod(shape[1:]) ** 0.5


def _assert_holds(lower, upper, values):
    assert lower.dtype == upper.dtype == torch.float64
    assert lower.shape == upper.shape == values.shape
    assert (lower.diff() <= 0).all()
    assert (upper.diff() <= 0).all()
    slack = 1e-14 * values[0]
    assert (lower.numpy() <= values + slack).all()
    assert (values <= upper.numpy() + slack).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_intervals_of_random_convolutions_hold(data):
    num_axes = data.draw(st.sampled_from([1, 2, 2, 3]))

    def per_axis(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(num_axes))

    image = per_axis(1, {1: 24, 2: 9, 3: 4}[num_axes])
    kernel, stride, dilation = per_axis(1, 4), per_axis(1, 3), per_axis(1, 2)
    groups, out, into = (data.draw(st.integers(1, 2)) for _ in range(3))
    mode = data.draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
    weight = _weight(groups * out, into, *kernel, seed=data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):
        weight[0] = 0
    padding = data.draw(st.sampled_from(["same", per_axis(0, 4)]))
    try:
        operator = Convolution(weight, (groups * into, *image), stride=stride, padding=padding, dilation=dilation,
                               groups=groups, padding_mode=mode)
    except JacprobeError:
        assume(False)
    assume(max(operator.shape) < 200)
    left = _weight(groups * out, seed=1) if data.draw(st.booleans()) else None
    matrix = operator.dense()[0]
    matrix = matrix if left is None else left.repeat_interleave(math.prod(operator.small))[:, None] * matrix
    _assert_holds(*convolution_bounds(operator, left=left), singular_values(matrix))


@pytest.mark.parametrize("stride", [1, 2])
def test_intervals_of_a_transposed_convolution_hold(stride):
    operator = Convolution(_weight(3, 2, 3, 3), (3, 5, 6), stride=stride, padding=1, transposed=True, groups=1,
                           output_padding=stride - 1)
    right = _weight(3, seed=2)
    matrix = operator.dense()[0] * right.repeat_interleave(30)
    _assert_holds(*convolution_bounds(operator, right=right), singular_values(matrix))


@pytest.mark.parametrize(("options", "width", "excess"), [
    ({"padding": 1}, 0.27, 0.02),
    ({"padding": 1, "stride": 2}, 0.45, 0.05),
    ({"padding": 0}, 0.3, 0.05),
    ({"padding": 1, "padding_mode": "reflect"}, 0.75, 0.9),
], ids=["zero padding", "stride", "no padding", "reflect"])
def test_intervals_are_narrow_enough_to_matter(options, width, excess):
    """Relative to the largest value, on 13 x 13 pixels: the median interval, and the upper end of the first."""
    operator = Convolution(_weight(3, 3, 3, 3), (3, 13, 13), **options)
    values = singular_values(operator.dense()[0])
    lower, upper = convolution_bounds(operator)
    _assert_holds(lower, upper, values)
    assert np.median(upper - lower) <= width * values[0]
    assert upper[0] <= (1 + excess) * values[0]


def test_intervals_narrow_as_the_image_grows():
    """The border's share of the pixels falls as 1 / size."""
    widths = []
    for size in (8, 16, 32, 64):
        lower, upper = convolution_bounds(Convolution(_weight(3, 3, 3, 3), (3, size, size), padding=1))
        widths.append(float((upper - lower).mean()))
    assert all(later < 0.65 * earlier for earlier, later in zip(widths, widths[1:], strict=False))


def test_a_pointwise_kernel_leaves_no_interval():
    operator = Convolution(_weight(3, 4, 1, 1), (4, 5, 6))
    lower, upper = convolution_bounds(operator)
    _assert_holds(lower, upper, singular_values(operator.dense()[0]))
    np.testing.assert_allclose(upper - lower, 0, atol=3e-10)


def test_no_interval_of_an_orthogonal_kernel_exceeds_one():
    """Delta-orthogonal kernels are isometries with zero padding too."""
    weight = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    weight[:, :, 1, 1] = torch.linalg.qr(_weight(4, 4)).Q
    lower, upper = convolution_bounds(Convolution(weight, (4, 16, 16), padding=1))
    assert upper.max() <= 1 + 1e-9
    assert (lower >= 1 - 1e-9).double().mean() >= 0.75


def test_channels_without_a_kernel_have_the_upper_end_zero():
    weight = _weight(4, 4, 3)
    weight[[0, 3]] = 0
    operator = Convolution(weight, (4, 9), padding=1)
    lower, upper = convolution_bounds(operator)
    _assert_holds(lower, upper, singular_values(operator.dense()[0]))
    assert (upper[18:] == 0).all()
    assert (upper[:18] > 0).all()


@pytest.mark.parametrize(("shape", "options"), [
    ((3, 2, 3, 3), {"padding": 1}), ((2, 3, 4, 2), {}), ((2, 2, 5, 5), {"padding": 2, "stride": 2}),
    ((3, 3, 3, 3), {"padding": 3, "dilation": 3}), ((4, 1, 3, 3), {"padding": 1, "groups": 4}),
], ids=["odd", "even", "stride", "dilation", "depthwise"])
def test_the_supremum_is_above_the_norm_on_every_image_and_near_it_on_large_ones(shape, options):
    norms = []
    for size in (4, 7, 10):
        operator = Convolution(_weight(*shape), (options.get("groups", 1) * shape[1], size, size), **options)
        norms.append(singular_values(operator.dense()[0])[0])
    bound = supremum(taps_of(operator))
    assert max(norms) <= bound
    assert bound <= 1.3 * norms[-1]


@pytest.mark.parametrize(("weight", "norm"), [
    ([[[0.5, 0.5]]], 1), ([[[1.0, -2.0, 1.0]]], 4), ([[[[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]]], 8),
], ids=["blur", "second difference", "Laplacian"])
def test_the_supremum_of_known_kernels(weight, norm):
    weight = torch.tensor(weight, dtype=torch.float64)
    operator = Convolution(weight, (1, *(9,) * (weight.ndim - 2)), padding="same")
    assert norm <= supremum(taps_of(operator)) <= 1.02 * norm


def _diagonals(dim):
    normal = _weight(5, dim, seed=3) * dim**0.5
    return torch.stack([torch.ones(dim), (normal[0] > 0).double(), normal[1].relu(), normal[2],
                        (normal[3] > 1.5).double(), 0.5 + 0 * normal[4], 0 * normal[4]])


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 4, 3), (4, 2, 3)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_intervals_after_a_diagonal_hold(shape, side):
    operator = Convolution(_weight(*shape), (shape[1], 16), padding=1)
    matrix = operator.dense()[0]
    diagonals = _diagonals(matrix.shape[0 if side == "left" else 1])
    products = diagonals[:, :, None] * matrix if side == "left" else matrix * diagonals[:, None]
    for bounds in (convolution_bounds(operator), [torch.tensor(singular_values(matrix))] * 2):
        lower, upper = scaled_bounds(*bounds, diagonals)
        for below, above, product in zip(lower, upper, products, strict=True):
            _assert_holds(below, above, singular_values(product))


def test_a_constant_diagonal_scales_and_zeros_cut_the_interval():
    lower, upper = torch.tensor([2.0, 1.0, 0.5, 0.1]), torch.tensor([3.0, 2.0, 1.0, 0.2])
    entries = torch.tensor([[-2.0, 2, 2, 2], [1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    below, above = scaled_bounds(lower, upper, entries)
    torch.testing.assert_close(below[0], 2 * lower.double())
    torch.testing.assert_close(above[0], 2 * upper.double())
    assert below[1:].tolist() == [[1.0, 0.5, pytest.approx(0.1), 0], [pytest.approx(0.1), 0, 0, 0], [0, 0, 0, 0]]
    assert above[1:].tolist() == [[3, 2, 1, 0], [3, 0, 0, 0], [0, 0, 0, 0]]


def test_a_diagonal_of_the_wrong_side_is_refused():
    with pytest.raises(ShapeError, match="`entries` must have at least 4 columns, one per row of the matrix; got 3"):
        scaled_bounds(torch.zeros(4), torch.zeros(4), torch.ones(1, 3))


def test_a_kernel_that_is_not_finite_is_refused():
    weight = _weight(2, 2, 3)
    weight[0, 0, 0] = math.inf
    with pytest.raises(NonFiniteError):
        convolution_bounds(Convolution(weight, (2, 5), padding=1))


def test_the_cost_grows_with_the_pixels():
    costs = [bounds_operations(Convolution(_weight(4, 4, 3, 3), (4, size, size), padding=1)) for size in (16, 32)]
    assert 3 < costs[1] / costs[0] < 4
