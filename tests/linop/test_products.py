"""Operators against plain matrices."""

import itertools

import numpy as np
import pytest
import torch
from oracles import assert_spectrum_close, seeded_normal, singular_values
from torch import Tensor

from jacprobe.errors import DtypeError, ShapeError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product
from jacprobe.probe.solve import rank_bound, solve_size
from jacprobe.probe.solve import singular_values as solved


def _dense(factors, num_inputs=3):
    product = torch.eye(factors[-1].shape[2], dtype=torch.float64).expand(num_inputs, -1, -1)
    for factor in reversed(factors):
        product = factor.dense() @ product
    return product


def _random(*shape, seed=0):
    return seeded_normal(*shape, seed=seed, dtype=torch.float64)


PRODUCTS = {
    "one matrix": [Matrix(_random(4, 3))],
    "wide matrix": [Matrix(_random(2, 5))],
    "copies": [Matrix(_random(2, 3), copies=4)],
    "tall copies": [Matrix(_random(5, 2), copies=3)],
    "diagonal": [Diagonal(_random(3, 4))],
    "constant diagonal": [Diagonal(_random(1, 4))],
    "diagonals": [Diagonal(_random(3, 4)), Diagonal(_random(1, 4, seed=1))],
    "layer": [Diagonal(_random(3, 4)), Matrix(_random(4, 6))],
    "two layers": [Diagonal(_random(3, 2)), Matrix(_random(2, 4)), Diagonal(_random(3, 4)), Matrix(_random(4, 6))],
    "bottleneck": [Matrix(_random(5, 2)), Diagonal(_random(3, 2)), Matrix(_random(2, 6))],
    "tokens": [Matrix(_random(2, 3), copies=4), Diagonal(_random(3, 12)), Matrix(_random(3, 5), copies=4)],
    "shared tokens": [Matrix(_random(2, 3), copies=4), Matrix(_random(3, 2), copies=4)],
    "tokens then flat": [Matrix(_random(5, 12)), Diagonal(_random(3, 12)), Matrix(_random(3, 2), copies=4)],
    "tall after tokens": [Matrix(_random(20, 12)), Diagonal(_random(3, 12)), Matrix(_random(3, 5), copies=4)],
    "flat then tokens": [Matrix(_random(5, 3), copies=4), Diagonal(_random(1, 12)), Matrix(_random(12, 20))],
    "copies of two sizes": [Matrix(_random(3, 2), copies=6), Diagonal(_random(3, 12)), Matrix(_random(3, 7), copies=4)],
    "size one": [Diagonal(_random(3, 1)), Matrix(_random(1, 1))],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_the_product_of_its_dense_factors(name):
    product, expected = Product(PRODUCTS[name]), _dense(PRODUCTS[name])
    num_inputs, out_dim, in_dim = product.shape
    assert product.dense().shape == product.shape == (num_inputs, *expected.shape[1:])
    right, left = _random(3, in_dim, 2), _random(3, out_dim, 2)
    tolerance = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(product.dense().expand(3, -1, -1), expected, **tolerance)
    torch.testing.assert_close(product @ right, expected @ right, **tolerance)
    torch.testing.assert_close(product.rmatmat(left), expected.mT @ left, **tolerance)


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_solver_gives_the_values_of_the_dense_product(name):
    product, expected = Product(PRODUCTS[name]), singular_values(_dense(PRODUCTS[name]))
    values, zeros = solved(product, 3, dtype=torch.float64)
    assert_spectrum_close(values, expected, floor=1e-13 * expected.max())
    assert (zeros.numpy() == (expected < 1e-12).sum(1)).all()
    assert max(solve_size(product)) <= max(product.shape[1:])


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_bound_holds_and_is_tight_for_sparse_factors(seed):
    """Random values on a random pattern almost surely have its rank, and a product has at most that."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [int(n) for n in torch.randint(1, 8, (4,), generator=generator)]
    matrices = [Matrix(_random(out, in_, seed=seed) * (torch.rand(out, in_, generator=generator) < 0.3))
                for in_, out in itertools.pairwise(sizes)]
    diagonals = [Diagonal(_random(3, n) * (torch.rand(3, n, generator=generator) < 0.7)) for n in sizes[1:]]
    layers = reversed(list(zip(diagonals, matrices, strict=True)))  # the last acts first
    factors = [factor for layer in layers for factor in layer]
    product = Product(factors)
    ranks = np.linalg.matrix_rank(_dense(factors).numpy())
    assert (rank_bound(product).numpy() >= ranks).all()
    single = Product([matrices[0]])
    assert rank_bound(single).item() == np.linalg.matrix_rank(matrices[0].matrix.numpy())


def test_triangular_factors_have_the_same_singular_values():
    wide, tall = Matrix(_random(3, 7)), Matrix(_random(7, 3))
    assert wide.lower.shape == tall.upper.shape == (3, 3)
    assert torch.equal(wide.lower, wide.lower.tril())
    assert torch.equal(tall.upper, tall.upper.triu())
    for matrix, triangle in ((wide.matrix, wide.lower), (tall.matrix, tall.upper)):
        np.testing.assert_allclose(singular_values(triangle), singular_values(matrix), rtol=1e-13)


def test_equal_products_share_their_matrices_and_have_equal_diagonals():
    matrix, diagonal = Matrix(_random(3, 3)), Diagonal(_random(1, 3))
    product = Product([diagonal, matrix])
    assert product.equals(Product([Diagonal(diagonal.entries.clone()), matrix]))
    assert not product.equals(Product([Diagonal(2 * diagonal.entries), matrix]))
    assert not product.equals(Product([Diagonal(_random(2, 3)), matrix]))
    assert not product.equals(Product([diagonal, Matrix(matrix.matrix)]))
    assert not product.equals(Product([matrix]))
    assert not product.equals(matrix)


def test_a_product_needs_factors_that_fit():
    with pytest.raises(ShapeError, match="`factors` must fit; one with in_dim 3 follows one with out_dim 4"):
        Product([Matrix(_random(2, 3)), Matrix(_random(4, 5))])
    with pytest.raises(ShapeError, match="`factors` must hold at least one operator; got none"):
        Product([])


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (torch.zeros(1, 5, 2, dtype=torch.float64), ShapeError, r"`block` must have shape \(1, 4, num_columns\); got"),
        (torch.zeros(4, dtype=torch.float64), ShapeError, r"got \(4,\). Give one block of columns per input"),
        (torch.zeros(1, 4, 2), DtypeError, "`block` must be torch.float64 as the operator; got torch.float32"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(block, error, message):
    operator = Matrix(_random(4, 4))
    for product in (operator.matmat, operator.rmatmat):
        with pytest.raises(error, match=message):
            product(block)


def test_an_operator_for_all_inputs_takes_blocks_of_any_number():
    assert (Matrix(_random(4, 3)) @ _random(7, 3, 2)).shape == (7, 4, 2)


def test_a_new_operator_needs_three_methods():
    class Half(LinearOperator):
        def _matmat(self, block: Tensor) -> Tensor:
            return block / 2

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_an_operator_shows_its_shape():
    assert repr(Matrix(torch.zeros(2, 3), copies=2)) == "Matrix(shape=(1, 4, 6), dtype=torch.float32)"
