"""Operators against plain matrices."""


import pytest
import torch
from oracles import seeded_normal
from torch import Tensor

from jacprobe.errors import DtypeError, ShapeError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product


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


def test_a_new_operator_needs_its_two_products():
    class Half(LinearOperator):
        def _matmat(self, block: Tensor) -> Tensor:
            return block / 2

    with pytest.raises(TypeError, match="abstract"):
        Half()


def test_an_operator_shows_its_shape():
    assert repr(Matrix(torch.zeros(2, 3), copies=2)) == "Matrix(shape=(1, 4, 6), dtype=torch.float32)"
