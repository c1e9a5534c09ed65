"""Products with Jacobians that are never stored."""

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, PreNormBlock
from oracles import SiteOracle, dense_jacobian, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.errors import DtypeError, ModelError, ShapeError

NAMES = ("mlp", "softmax and layer norm", "wide output", "tokens then flat", "functional", "residual", "branches",
         "attention block", "lstm", "transposed convolutions", "mixed precision", "vgg16-bn")


def _operator(name, num_inputs=3, dtype="float64", **arguments):
    factory, shape, output = ARCHITECTURES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = randomized(factory())
    inputs = seeded_normal(num_inputs, *shape)
    return jp.jacobian(net, inputs, output=output, dtype=dtype, **arguments), SiteOracle(net, inputs, output)


def _close(one, other, tolerance=1e-12):
    return float((one - other).abs().max()) <= tolerance * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_products_agree_with_the_oracle_from_both_sides(name):
    operator, oracle = _operator(name)
    expected = oracle.jacobian("input", "output")
    num_inputs, out_dim, in_dim = operator.shape
    assert operator.shape == expected.shape
    right, left = (seeded_normal(num_inputs, dim, 3, dtype=torch.float64) for dim in (in_dim, out_dim))
    assert _close(operator.dense(), expected)
    assert _close(operator @ right, expected @ right)
    assert _close(operator.rmatmat(left), expected.mT @ left)


@pytest.mark.parametrize("name", NAMES)
def test_the_transpose_is_the_adjoint(name):
    operator, _ = _operator(name)
    num_inputs, out_dim, in_dim = operator.shape
    u, v = (seeded_normal(num_inputs, dim, 1, dtype=torch.float64) for dim in (out_dim, in_dim))
    left, right = (u * (operator @ v)).sum((1, 2)), (operator.rmatmat(u) * v).sum((1, 2))
    assert _close(left, right)


@pytest.mark.parametrize("name", NAMES)
def test_the_squares_of_the_values_sum_to_the_frobenius_norm(name):
    factory, shape, output = ARCHITECTURES[name]
    net, inputs = randomized(factory()), seeded_normal(3, *shape)
    spectrum = jp.spectra(net, inputs, output=output, kind="end_to_end", accuracy="reference").end_to_end
    dense = jp.jacobian(net, inputs, output=output, accuracy="reference").dense()
    squares = dense.square().sum((1, 2))
    assert float((spectrum.values.square().sum(1) - squares).abs().max()) <= 1e-11 * float(squares.max())


@pytest.mark.parametrize("num_inputs", [1, 2, 7, 70])
def test_the_number_of_inputs_does_not_change_a_spectrum(num_inputs):
    """Few inputs run in many copies side by side, many in one."""
    net, inputs = randomized(PreNormBlock()), seeded_normal(70, 3, 4)
    every = jp.spectra(net, inputs, accuracy="reference").end_to_end
    few = jp.spectra(net, inputs[:num_inputs], accuracy="reference").end_to_end
    assert float((few.values - every.values[:num_inputs]).abs().max()) < 1e-13 * every.max


def test_a_row_by_row_jacobian_of_a_plain_function_agrees():
    """The two oracles against each other and the operator."""
    net, inputs = randomized(PreNormBlock()).double(), seeded_normal(2, 3, 4, dtype=torch.float64)
    dense = dense_jacobian(net, inputs)
    assert _close(SiteOracle(net, inputs).jacobian("input", "output"), dense)
    assert _close(jp.jacobian(net, inputs).dense(), dense)


def test_finite_differences_agree():
    net, inputs = randomized(PreNormBlock()).double(), seeded_normal(1, 3, 4, dtype=torch.float64)
    operator, step = jp.jacobian(net, inputs), 1e-6
    direction = seeded_normal(1, 12, 1, dtype=torch.float64)
    moved = step * direction.reshape(inputs.shape)
    difference = ((net(inputs + moved) - net(inputs - moved)) / (2 * step)).detach()
    # central differences: truncation step^2, rounding eps / step
    assert _close((operator @ direction).flatten(), difference.flatten(), tolerance=1e-8)


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, cotangent):
        return 2 * ctx.saved_tensors[0] * cotangent


class _OnceDifferentiable(_Square):
    backward = staticmethod(torch.autograd.function.once_differentiable(_Square.backward))


class _Detaching(_Square):
    @staticmethod
    def backward(ctx, cotangent):
        return (2 * ctx.saved_tensors[0] * cotangent).detach()


class _ByNumPy(_Square):
    @staticmethod
    def backward(ctx, cotangent):
        return torch.from_numpy(2 * ctx.saved_tensors[0].detach().numpy() * cotangent.detach().numpy())


class _Net(nn.Module):
    def __init__(self, function, beside):
        super().__init__()
        self.a, self.b, self.function, self.beside = nn.Linear(3, 3), nn.Linear(3, 6), function, beside

    def forward(self, x):
        x = self.a(x)
        return self.b(self.function.apply(x) + self.beside * x).flip(1)


@pytest.mark.parametrize("beside", [0, 1], ids=["alone", "beside a plain path"])
@pytest.mark.parametrize("function", [_Square, _OnceDifferentiable, _Detaching, _ByNumPy])
def test_a_function_without_a_second_derivative_is_probed_by_rows(function, beside):
    torch.manual_seed(0)
    net, inputs = _Net(function, beside).double(), seeded_normal(4, 3, dtype=torch.float64)
    expected = SiteOracle(net, inputs).jacobian("input", "output")
    operator, block = jp.jacobian(net, inputs), seeded_normal(4, 3, 2, dtype=torch.float64)
    assert _close(operator.dense(), expected)
    assert _close(operator @ block, expected @ block)
    values = jp.spectra(net, inputs).end_to_end.values.numpy()
    assert np.abs(values - singular_values(expected)).max() < 1e-12
    if function is not _Square:
        with pytest.raises(ModelError, match="must be differentiable twice between 'input' and 'output'"):
            operator.jvp(seeded_normal(4, 3, dtype=torch.float64))


def test_a_zero_map_is_no_missing_derivative():
    class Net(nn.Module):
        def forward(self, x):
            return torch.cat([x.round(), x.sign()], 1)

    operator = jp.jacobian(Net(), seeded_normal(2, 3))
    assert (operator.dense() == 0).all()
    assert (operator @ torch.ones(2, 3, 1) == 0).all()


def test_an_operator_works_between_any_two_sites():
    factory, shape, _ = ARCHITECTURES["mlp"]
    net, inputs = randomized(factory()), seeded_normal(2, *shape)
    oracle = SiteOracle(net, inputs)
    for source, target in (("input", "2"), ("0", "4"), ("2.input", "output")):
        operator = jp.jacobian(net, inputs, source=source, target=target, accuracy="reference")
        assert _close(operator.dense(), oracle.jacobian(source, target))


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (torch.zeros(3, 4, 1), ShapeError, r"`block` must have shape \(3, 5, num_columns\); got \(3, 4, 1\)"),
        (torch.zeros(2, 5, 1), ShapeError, r"got \(2, 5, 1\). Give one block of columns per input"),
        (torch.zeros(3, 5), ShapeError, r"got \(3, 5\)"),
        (torch.zeros(3, 5, 1, dtype=torch.float64), DtypeError, "`block` must be torch.float32 as the operator"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(block, error, message):
    operator, _ = _operator("mlp", dtype="float32")
    with pytest.raises(error, match=message):
        operator @ block


def test_no_columns_give_no_columns():
    operator, _ = _operator("mlp", dtype="float32")
    assert (operator @ torch.zeros(3, 5, 0)).shape == (3, 3, 0)
