"""Convolutions and linear maps against Jacobians of the real torch modules, row by row."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import dense_jacobian, seeded_normal, singular_values
from torch import nn
from torch.nn import functional as F

from jacprobe.errors import ArgumentError, ShapeError
from jacprobe.linop import Convolution, LinearMap

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _random(*shape, seed=0, dtype=torch.float64):
    return seeded_normal(*shape, seed=seed, dtype=dtype)


def _operator(module, image, *, largest=math.inf):
    """The operator of a module with seeded weights, and the Jacobian of the module."""
    module.weight.data = _random(*module.weight.shape)
    sample = torch.zeros(1, module.in_channels, *image, dtype=torch.float64)
    with warnings.catch_warnings(action="ignore"):  # "same" with an even kernel copies
        out_shape = module(sample)[0].shape
        assume(0 < math.prod(out_shape) <= largest)
        jacobian = dense_jacobian(module, sample)
    return Convolution.of_module(module, module.weight, sample.shape[1:], out_shape), jacobian


def _assert_is(operator, jacobian):
    """Products, transposed products, the dense matrix and its norms."""
    assert operator.shape == jacobian.shape
    out_dim, in_dim = operator.shape[1:]
    right, left = _random(2, in_dim, 3), _random(2, out_dim, 3, seed=1)
    tolerance = {"rtol": 0, "atol": 1e-12 * max(1.0, float(jacobian.norm()))}
    torch.testing.assert_close(operator @ right, jacobian @ right, **tolerance)
    torch.testing.assert_close(operator.rmatmat(left), jacobian.mT @ left, **tolerance)
    torch.testing.assert_close(operator.dense(), jacobian, **tolerance)
    if isinstance(operator, Convolution):
        torch.testing.assert_close(torch.block_diag(*operator.dense_blocks()), jacobian[0], **tolerance)
        squares = jacobian[0].square()
        scale = float(squares.sum())
        for side, expected in (("rows", squares.sum(1)), ("columns", squares.sum(0))):
            norms = operator.norms_squared(side)
            assert norms.dtype == torch.float64
            torch.testing.assert_close(norms, expected, rtol=0, atol=1e-13 * max(1.0, scale))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_random_convolutions_are_their_modules(data):
    num_axes = data.draw(st.integers(1, 3))

    def per_axis(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(num_axes))

    groups, out, into = (data.draw(st.integers(1, 2)) for _ in range(3))
    image = per_axis(1, {1: 9, 2: 5, 3: 3}[num_axes])
    options = {"stride": per_axis(1, 3), "padding": per_axis(0, 3), "dilation": per_axis(1, 2), "groups": groups,
               "bias": False, "dtype": torch.float64}
    kernel, mode = per_axis(1, 3), data.draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
    transposed = data.draw(st.booleans())
    if transposed:
        options["output_padding"] = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in
                                          zip(options["stride"], options["dilation"], strict=True))
    else:
        options["padding_mode"] = mode
        if set(options["stride"]) == {1} and data.draw(st.booleans()):
            options["padding"] = "same"
    modules = TRANSPOSED if transposed else CONVOLUTIONS
    module = modules[num_axes](groups * into, groups * out, kernel, **options)
    try:
        operator, jacobian = _operator(module, image, largest=120)
    except RuntimeError:  # torch finds the image too small
        assume(False)
    _assert_is(operator, jacobian)


@pytest.mark.parametrize(
    ("module", "image"),
    {
        "one dimension": (nn.Conv1d(2, 3, 3, padding=1), (7,)),
        "stride that leaves a rest": (nn.Conv2d(2, 3, 3, stride=2), (6, 8)),
        "stride 3": (nn.Conv2d(2, 3, (3, 2), stride=3, padding=1), (7, 6)),
        "more padding than kernel": (nn.Conv2d(2, 2, 2, padding=3), (3, 4)),
        "kernel larger than the image": (nn.Conv2d(2, 2, 5, padding=2), (2, 3)),
        "circular kernel that meets itself": (nn.Conv2d(2, 2, 5, padding=2, padding_mode="circular"), (2, 3)),
        "reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (4, 5)),
        "replicate with stride": (nn.Conv2d(2, 3, 5, padding=2, stride=2, padding_mode="replicate"), (4, 5)),
        "even kernel, same": (nn.Conv2d(2, 3, (2, 4), padding="same"), (4, 5)),
        "even kernel, same, circular": (nn.Conv2d(2, 3, 2, padding="same", padding_mode="circular"), (4, 5)),
        "valid": (nn.Conv2d(2, 3, 3, padding="valid"), (4, 5)),
        "groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 3)),
        "depthwise": (nn.Conv2d(3, 6, 3, padding=1, groups=3, stride=2), (5, 4)),
        "dilation": (nn.Conv2d(2, 3, 3, padding=2, dilation=2), (5, 6)),
        "pointwise": (nn.Conv2d(3, 2, 1), (4, 3)),
        "three dimensions": (nn.Conv3d(2, 2, 2, stride=(1, 2, 1), padding=1), (2, 3, 3)),
        "three dimensions, reflect": (nn.Conv3d(1, 2, 3, padding=1, padding_mode="reflect"), (2, 3, 3)),
        "transposed": (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (3, 2)),
        "transposed with groups": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (3, 2)),
        "transposed with dilation": (nn.ConvTranspose1d(2, 3, 2, dilation=3, output_padding=2), (4,)),
        "transposed, three dimensions": (nn.ConvTranspose3d(2, 1, 2, stride=2), (2, 1, 2)),
        "one pixel": (nn.Conv2d(3, 2, 1), (1, 1)),
    }.values(),
    ids=lambda value: str(value),
)
def test_a_convolution_is_its_module(module, image):
    _assert_is(*_operator(module.double(), image))


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_a_float32_operator_takes_and_gives_float32(mode):
    """Its routines differ from those of float64."""
    weight = _random(4, 3, 3, 3, dtype=torch.float32)
    settings = {"padding": 1, "stride": 2, "padding_mode": mode}
    single, double = (Convolution(w, (3, 6, 5), **settings) for w in (weight, weight.double()))
    right, left = _random(2, single.shape[2], 3, dtype=torch.float32), _random(2, single.shape[1], 3).float()
    assert single.dense().dtype == (single @ right).dtype == single.rmatmat(left).dtype == torch.float32
    torch.testing.assert_close(single @ right, (double @ right.double()).float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(single.rmatmat(left), double.rmatmat(left.double()).float(), rtol=0, atol=1e-5)


def test_blocks_laid_out_by_rows_are_neither_copied_nor_changed():
    operator = Convolution(_random(3, 2, 3, 3), (2, 4, 4), padding=1)
    rows = _random(2, 5, operator.shape[2])
    before = rows.clone()
    product = operator @ rows.mT
    assert product.mT.is_contiguous()
    assert operator.rmatmat(product).mT.is_contiguous()
    assert torch.equal(rows, before)


def test_the_effective_weight_counts_and_keeps_no_gradient():
    module = nn.Conv2d(2, 3, 3, padding=1)
    masked = module.weight * (module.weight > 0)
    operator = Convolution.of_module(module, masked, (2, 4, 4), (3, 4, 4))
    assert not operator.weight.requires_grad
    assert not (operator @ torch.ones(1, 32, 1)).requires_grad
    assert (operator.dense() >= 0).all()


@pytest.mark.parametrize(("stride", "groups", "transposed"), [(1, 1, False), (2, 1, False), (1, 2, True), (2, 2, True)])
def test_a_pointwise_kernel_is_a_matrix_repeated_at_every_pixel(stride, groups, transposed):
    operator = Convolution(_random(4, 6 // groups, 1, 1), (4 if transposed else 6, 5, 4), stride=stride, groups=groups,
                           transposed=transposed)
    assert operator.is_pointwise
    matrices = operator.pointwise_matrices
    assert matrices.shape == (groups, operator.out_shape[0] // groups, operator.in_shape[0] // groups)
    expected = np.repeat(np.sort(singular_values(matrices).ravel())[::-1], operator.copies)
    found = singular_values(operator.dense()[0])
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-12)
    np.testing.assert_allclose(found[len(expected) :], 0, atol=1e-12)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": "same"}, {}])
def test_larger_kernels_or_padded_ones_are_not_pointwise(options):
    size = 1 if options == {"padding": 1} else 3
    assert not Convolution(_random(2, 2, size, size), (2, 5, 5), **options).is_pointwise


def test_an_output_size_given_at_the_call_is_understood():
    module = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    sample = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    jacobian = dense_jacobian(lambda x: module(x, output_size=(6, 5)), sample)
    _assert_is(Convolution.of_module(module, module.weight, (2, 3, 3), (3, 6, 5)), jacobian)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"padding_mode": "mirror"}, ArgumentError, "`padding_mode` must be one of zeros, circular, .*; got 'mirror'"),
        ({"in_shape": (2, 4)}, ShapeError, r"`weight` must have two axes more than the image.*for images \(2, 4\)"),
        ({"in_shape": (3, 4, 4)}, ShapeError, r"`in_shape` must fit the kernel .* in 1 groups; got \(3, 4, 4\)"),
        ({"in_shape": (2, 2, 4)}, ShapeError, r"`in_shape` must be large enough for kernel \(3, 3\) and zeros padding"),
        ({"padding": 5, "padding_mode": "circular"}, ShapeError, "must be large enough .* and circular padding"),
        ({"padding": 4, "padding_mode": "reflect"}, ShapeError, "must be large enough .* and reflect padding"),
        ({"transposed": True, "in_shape": (3, 4, 4), "output_padding": 1}, ShapeError,
         r"`output_padding` must be smaller than the stride \(1, 1\) or the dilation \(1, 1\); got \[1, 1\]"),
    ],
)
def test_a_convolution_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Convolution(_random(3, 2, 3, 3), **{"in_shape": (2, 4, 4), **arguments})


def test_a_module_that_is_no_convolution_is_refused():
    with pytest.raises(ArgumentError, match="`module` must be a convolution; got Linear"):
        Convolution.of_module(nn.Linear(2, 2), torch.zeros(2, 2), (2,), (2,))


def test_a_shape_that_the_module_does_not_give_is_refused():
    module = nn.Conv2d(2, 3, 3)
    with pytest.raises(ShapeError, match=r"`out_shape` must be \(3, 2, 2\) for Conv2d.*; got \(3, 4, 4\)"):
        Convolution.of_module(module, module.weight, (2, 4, 4), (3, 4, 4))
    with pytest.raises(ArgumentError, match="`side` must be 'rows' or 'columns'; got 'both'"):
        Convolution(module.weight, (2, 4, 4)).norms_squared("both")


LINEAR_MAPS = {
    "average": (nn.AvgPool2d(2), (2, 4, 6)),
    "one dimension": (nn.AvgPool1d(3, 2, 1), (2, 7)),
    "up to the edge": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 7, 6)),
    "divisor": (nn.AvgPool3d(2, divisor_override=3), (1, 4, 3, 5)),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 5)),
    "global": (nn.AdaptiveAvgPool3d(1), (2, 3, 2, 2)),
    "shuffle": (nn.PixelShuffle(2), (4, 2, 3)),
    "upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 3, 2)),
    "reshape": (nn.Flatten(), (2, 3)),
    "padding": (lambda x: F.pad(x, (1, 2)), (1, 3)),
}


@pytest.mark.parametrize("name", LINEAR_MAPS)
def test_a_linear_map_is_its_function(name):
    function, in_shape = LINEAR_MAPS[name]
    sample = torch.zeros(1, *in_shape, dtype=torch.float64)
    _assert_is(LinearMap(function, in_shape, function(sample).shape[1:], sample), dense_jacobian(function, sample))


def test_a_linear_map_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"`function` must give shape \(1, 2, 3\) for one sample; got \(1, 2, 2\)"):
        LinearMap(nn.AvgPool1d(2), (2, 4), (2, 3), torch.zeros(0))


def test_the_dense_matrix_of_many_pixels_holds_every_weight_once_per_reach():
    operator = Convolution(_random(4, 3, 3, 3), (3, 16, 16), padding=1)
    matrix = operator.dense()
    assert matrix.count_nonzero() == 4 * 3 * (3 * 16 - 2) ** 2
    assert math.isclose(matrix.square().sum(), operator.norms_squared("rows").sum(), rel_tol=1e-12)
