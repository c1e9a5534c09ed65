"""Logarithms of singular values against arithmetic with hundreds of digits, which shares nothing with the solver."""

import math

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.linop import Convolution, Diagonal, Matrix, Product, Selection, Sum
from jacprobe.solvers.liveness import rank_bound
from jacprobe.solvers.relative import relative_singular_values

NUM = 3
DIGITS = {"beyond float64": 400}  # of the exact values; 250 for all others, which span less


@pytest.fixture(autouse=True)
def _one_thread():
    """Small work on several threads waits for them longer than it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _orthogonal(n, seed=0):
    return torch.linalg.qr(_normal(n, n, seed=seed)).Q


def _kept(*shape, share, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def _logspace(start, end, n, seed=None):
    """Powers of ten, shuffled where there is a seed."""
    values = torch.logspace(start, end, n, dtype=torch.float64)
    return values if seed is None else values[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]


def _chosen(values):
    """A product of three factors with chosen singular values."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return [Matrix(_orthogonal(len(values))), Diagonal(values[None]), Matrix(_orthogonal(len(values), seed=1))]


def _layers(entries, width=8):
    """A chain with these diagonals, (NUM, width) each, the first on the side of the output."""
    return [factor for i, d in enumerate(entries) for factor in (Diagonal(d), Matrix(_normal(width, width, seed=i)))]


def exact_logs(product, digits=250):
    """(num_inputs, min(out_dim, in_dim)) by multiplying out and an SVD with so many digits; -inf for a zero."""
    found = []
    with mpmath.workdps(digits):
        for i in range(product.shape[0]):
            matrix = None
            for factor in product.factors:
                dense = factor.dense().double()
                dense = mpmath.matrix(dense[i % len(dense)].tolist())
                matrix = dense if matrix is None else matrix * dense
            wide = matrix.T if matrix.rows < matrix.cols else matrix
            values = mpmath.svd_r(wide, compute_uv=False)
            least = mpmath.mpf(10) ** (20 - digits) * max(values)
            found.append(sorted((float(mpmath.log(s)) if s > least else -math.inf for s in values), reverse=True))
    return np.array(found)


def largest_error(logs, exact):
    """Largest difference per input, where the same values are zero."""
    logs, zero = logs.numpy(), np.isneginf(exact)
    assert (np.isneginf(logs) == zero).all()
    assert (logs[:, 1:] <= logs[:, :-1]).all()
    return np.abs(np.where(zero, 0, logs) - np.where(zero, 0, exact)).max(1)


_DEEP = [Matrix(_normal(24, 24, seed=seed) / 24**0.5) for seed in range(40)]
_STEEP = Matrix(_orthogonal(6) @ torch.diag(_logspace(0, -6, 6)) @ _orthogonal(6, seed=1))
PRODUCTS = {
    "a deep Gaussian chain": _DEEP,
    "orthogonal chain": [Matrix(_orthogonal(8, seed=seed)) for seed in range(30)],
    "rectified": _layers([_kept(NUM, 8, share=0.7, seed=s).double() for s in range(6)]),
    "saturated tanh": _layers([1 - torch.tanh(3 * _normal(NUM, 8, seed=50 + s)) ** 2 for s in range(8)]),
    "saturated sigmoid": _layers([torch.exp(-30 * _normal(NUM, 8, seed=50 + s).abs()) for s in range(4)]),
    "widths up and down": [Matrix(_normal(7, 12)), Diagonal(_normal(NUM, 12)), Matrix(_normal(12, 5)),
                           Matrix(_normal(5, 9)), Diagonal(_normal(NUM, 9)), Matrix(_normal(9, 11))],
    "one matrix": [Matrix(_normal(6, 8))],
    "one diagonal": [Diagonal(_normal(NUM, 6))],
    "row": [Matrix(_normal(1, 6)), Diagonal(_normal(NUM, 6)), Matrix(_normal(6, 4))],
    "column": [Matrix(_normal(4, 6)), Diagonal(_normal(NUM, 6)), Matrix(_normal(6, 1))],
    "number": [Matrix(_normal(1, 3)), Matrix(_normal(3, 1))],
    "all dead": [Matrix(_normal(5, 5)), Diagonal(torch.zeros(NUM, 5, dtype=torch.float64)), Matrix(_normal(5, 5))],
    "dead for some": [Matrix(_normal(5, 5)), Diagonal(torch.tensor([[0.0] * 5, [1.0] * 5, [0, 0, 2, 0, 0]]).double())],
    "graded to 1e-12": _chosen(_logspace(0, -12, 8)),
    "graded to 1e-100": _chosen(_logspace(0, -100, 8)),
    "clusters": _chosen([1, 1, 1 - 1e-9, 1 - 1e-9, 0.5, 0.5 + 1e-15, 1e-20, 1e-20]),
    "graded and graded back": [*_chosen(_logspace(0, -30, 8)), Diagonal(_logspace(-30, 0, 8)[None]),
                               Matrix(_normal(8, 8, seed=2))],
    "graded rows": [Matrix(_logspace(0, -40, 8, seed=0)[:, None] * _normal(8, 8))],
    "graded columns": [Matrix(_logspace(0, -40, 8, seed=0) * _normal(8, 8))],
    "beyond float64": [Diagonal(_logspace(-170, 0, 3)[None]), Diagonal(_logspace(-170, 0, 3)[None]),
                       Matrix(_normal(3, 3))],
    "huge": [Matrix(1e300 * _normal(5, 5)), Matrix(1e300 * _normal(5, 5, seed=1))],
    "tokens": [Matrix(_normal(3, 4), copies=2), Diagonal(_normal(NUM, 8)), Matrix(_normal(4, 2), copies=2)],
    "max pooling": [Matrix(_normal(5, 4)), Diagonal(_normal(2, 4)),
                    Selection(torch.tensor([[0, 0, 3, 4], [6, 5, 4, 3]]), 7, dtype=torch.float64),
                    Matrix(_normal(7, 6))],
    "sparse": [Matrix(_normal(8, 8) * _kept(8, 8, share=0.2)), Diagonal(_normal(NUM, 8)),
               Matrix(_normal(8, 8, seed=1) * _kept(8, 8, share=0.25, seed=1)),
               Matrix(_normal(8, 8, seed=2) * _kept(8, 8, share=0.3, seed=2))],
    "convolution": [Convolution(_normal(2, 1, 3, 3), (1, 3, 3), padding=1), Diagonal(_normal(NUM, 9)),
                    Sum([Matrix(_normal(9, 9)), Diagonal(_normal(1, 9))])],
    "float32": [Diagonal(_normal(NUM, 6).float()), Matrix(_normal(6, 6).float())],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_value_is_found_however_small(name):
    product = Product(PRODUCTS[name])
    logs, error, *_ = relative_singular_values(product, product.shape[0])
    found = largest_error(logs, exact_logs(product, DIGITS.get(name, 250)))
    assert logs.shape == (product.shape[0], min(product.shape[1:])) and logs.dtype == error.dtype == torch.float64
    assert (found <= 1e-10).all()
    assert (found <= error.numpy()).all()
    assert (error <= 1e-9).all()


def test_the_formed_product_has_lost_what_the_factors_still_hold():
    """The singular values of a product multiply to the determinants of its factors."""
    product = Product(_DEEP)
    exact = sum(torch.linalg.slogdet(factor.matrix).logabsdet.item() for factor in _DEEP)
    logs, *_ = relative_singular_values(product, 1)
    formed = torch.linalg.svdvals(product.dense()).log()
    assert abs(logs.sum().item() - exact) < 1e-10
    assert logs[0, -1] < -90
    assert abs(formed.sum().item() - exact) > 50


def test_products_of_orthogonal_matrices_are_isometries():
    logs, error, *_ = relative_singular_values(Product([Matrix(_orthogonal(30, seed=s)) for s in range(10)]), 1)
    assert logs.abs().max() < 1e-13
    assert error.item() < 1e-11


def test_a_product_that_is_the_same_for_all_is_solved_once():
    logs, error, *_ = relative_singular_values(Product([Matrix(_normal(4, 4))]), 5)
    assert logs.shape == (5, 4) and error.shape == (5,)
    assert (logs == logs[0]).all()


def test_the_same_product_gives_the_same_numbers():
    product = Product(PRODUCTS["saturated tanh"])
    first, second = relative_singular_values(product, NUM), relative_singular_values(product, NUM)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_inputs_of_different_rank_do_not_disturb_each_other():
    together, *_ = relative_singular_values(Product(PRODUCTS["rectified"]), NUM)
    for i in range(NUM):
        alone = [Diagonal(f.entries[i : i + 1]) if isinstance(f, Diagonal) else f for f in PRODUCTS["rectified"]]
        logs, *_ = relative_singular_values(Product(alone), 1)
        assert torch.allclose(logs[0], together[i], rtol=0, atol=1e-12)


def test_rows_that_cancel_are_no_structural_zeros_and_the_error_says_so():
    ones = torch.ones(4, 4, dtype=torch.float64)
    _, error, *_ = relative_singular_values(Product([Matrix(ones), Matrix(_normal(4, 4))]), 1)
    assert error.item() == math.inf


def test_the_error_grows_with_the_condition_of_one_factor():
    inverse = Matrix(torch.linalg.inv(_STEEP.matrix))
    product = Product([_STEEP, inverse])
    logs, error, *_ = relative_singular_values(product, 1)
    found = largest_error(logs, exact_logs(product))
    assert 1e-13 < found.item() <= error.item() < 1e-8


def test_paths_that_share_a_unit_count_once():
    """Three units on each side, all joined, and every matrix of full structural rank; but one unit is a bottleneck."""
    left = torch.tensor([[1.0, 0, 0], [2, 0, 0], [3, 4, 5]], dtype=torch.float64)
    right = torch.tensor([[1.0, 2, 3], [0, 0, 4], [0, 0, 5]], dtype=torch.float64)
    product = Product([Matrix(left), Matrix(right)])
    logs, error, *_ = relative_singular_values(product, 1)
    assert largest_error(logs, exact_logs(product)).item() < 1e-13
    assert error.item() < 1e-11
    assert torch.isneginf(logs).sum() == 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_sparse_chains_have_their_values_and_their_rank(data):
    seed = data.draw(st.integers(0, 10**6))
    widths = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    share = data.draw(st.sampled_from([0.15, 0.4, 1.0]))
    factors = []
    for i, (in_dim, out_dim) in enumerate(zip(widths, widths[1:], strict=False)):
        kept = _kept(out_dim, in_dim, share=share, seed=seed + i)
        factors.insert(0, Matrix(_normal(out_dim, in_dim, seed=seed + i) * kept))
        gates = _normal(2, out_dim, seed=seed - i) * _kept(2, out_dim, share=0.8, seed=seed + 9 * i)
        factors.insert(0, Diagonal(gates))
    product = Product(factors)
    logs, error, *_ = relative_singular_values(product, 2)
    assert (torch.isfinite(logs).sum(1) <= rank_bound(product)).all()
    found = largest_error(logs, exact_logs(product))
    assert (found <= error.numpy()).all()
    assert (found <= 1e-9).all()


@pytest.mark.parametrize(("factors", "options", "message"), [
    ([Matrix(_normal(2, 2))], {"max_sweeps": 2}, "`max_sweeps` must be at least 3; got 2"),
    ([Matrix(_normal(2, 2))], {"tolerance": 0.0}, "`tolerance` must be positive; got 0.0"),
    ([Sum([Diagonal(_normal(2, 3)), Matrix(_normal(3, 3))])], {}, "the same for all inputs; got Sum of shape"),
    ([Convolution(_normal(1, 1, 3, 3), (1, 200, 200), padding=1)], {}, "fit memory as explicit matrices"),
    ([Diagonal(_normal(1, 20000))], {}, "must have blocks that fit 2.15e[+]09 bytes; got 20000 x 20000"),
], ids=["sweeps", "tolerance", "matrix per input", "large matrix", "large blocks"])
def test_what_cannot_be_resolved_is_refused(factors, options, message):
    with pytest.raises(ArgumentError, match=message):
        relative_singular_values(Product(factors), 2, **options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_factors_that_are_not_finite_are_named(bad):
    with pytest.raises(NonFiniteError, match="got NaN or infinity in Diagonal"):
        relative_singular_values(Product([Diagonal(torch.tensor([[1.0, bad]], dtype=torch.float64))]), 1)


def _matrices(*rows):
    return Product([Matrix(torch.tensor(matrix, dtype=torch.float64)) for matrix in rows])


_CANCELLING = {  # a product, its singular values, how many are zero by structure
    "a difference": (_matrices([[1.0, -1]], [[1.0], [1]]), [0.0], 0),
    "rank one": (_matrices([[1.0, 1], [1, 1]]), [2, 0.0], 0),
    "nearly rank one": (_matrices([[1.0, 1], [1, 1 + 2.0**-50]]), [2, 2.0**-51], 0),
    "four ones": (_matrices([[1.0] * 4] * 4), [4.0, 0, 0, 0], 0),
    "a sum and a difference": (_matrices([[1.0, 1], [1, 1]], [[1.0, 1], [1, -1]]), [2 * 2**0.5, 0.0], 0),
    "rank one beside a dead unit": (_matrices([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]), [2.0, 0, 0], 1),
    "a value beside 1e-200 of cancellation": (_matrices([[1e-200, -1e-200]], [[1.0], [1]]), [0.0], 0),
}


@pytest.mark.parametrize("name", _CANCELLING)
def test_values_that_cancel_are_within_the_floor_and_no_structural_zeros(name):
    product, exact, zeros = _CANCELLING[name]
    found = relative_singular_values(product, 1)
    assert found.error.item() == math.inf
    assert found.zeros.tolist() == [zeros]
    off = (found.logs.exp() - torch.tensor(exact, dtype=torch.float64)).abs().max()
    assert off <= found.floor.item() <= 64 * torch.finfo(torch.float64).eps * max(1e-200, 4)


def test_the_error_holds_for_factors_of_every_condition():
    """Of chosen singular values, multiplied out exactly."""
    resolved = 0
    for seed in range(60):
        n, digits, depth = (2, 3, 4, 6)[seed % 4], (6, 9, 12)[seed % 3], 1 + seed % 2
        product = Product([Matrix(_orthogonal(n, seed=4 * seed + 2 * i) @ torch.diag(_logspace(0, -digits, n))
                                  @ _orthogonal(n, seed=4 * seed + 2 * i + 1)) for i in range(depth)])
        found = relative_singular_values(product, 1)
        exact = exact_logs(product, 80)
        off = np.abs(found.logs.exp().numpy() - np.exp(exact)).max(1)
        assert off <= found.floor.item()
        if found.error.isfinite().item():
            resolved += 1
            assert largest_error(found.logs, exact) <= found.error.item()
    assert resolved > 30


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_error_holds_where_scales_oppose_each_other(depth):
    """H D H and H D^-1 H / n^2 with powers of two are exact, and so is their product: the identity, n^2 times."""
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    for seed in range(10):
        scales = 2.0 ** torch.randint(-6, 7, (4,), generator=torch.Generator().manual_seed(seed)).double()
        there = Matrix(hadamard @ torch.diag(scales) @ hadamard)
        back = Matrix(hadamard @ torch.diag(1 / scales) @ hadamard)
        found = relative_singular_values(Product([there] * depth + [back] * depth), 1)
        off = (found.logs - depth * math.log(16)).abs().max()
        assert off <= found.error.item()
        assert (found.logs.exp() - 16.0**depth).abs().max() <= found.floor.item()
