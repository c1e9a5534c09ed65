"""Vectors pixel by pixel: the same map up to the order of coordinates."""

import pytest
import torch
from oracles import seeded_normal

from jacprobe.linop import Convolution, Diagonal, Matrix, Product, Sum, channels_last


def _conv(c_out, c_in, size, seed, **options):
    return Convolution(seeded_normal(c_out, c_in, 3, 3, seed=seed), (c_in, size, size), **options)


def _order(shape):
    """Position of every entry of a vector by pixels in the one by channels."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape).movedim(0, -1).flatten()


CHAINS = {
    "convolution": lambda: ([_conv(5, 3, 6, 0, padding=1)], (5, 6, 6), (3, 6, 6)),
    "strided between diagonals": lambda: (
        [Diagonal(seeded_normal(2, 45)), _conv(5, 3, 6, 0, padding=1, stride=2), Diagonal(seeded_normal(1, 108))],
        (5, 3, 3), (3, 6, 6)),
    "two, circular and transposed": lambda: (
        [Convolution(seeded_normal(4, 2, 3, 3), (4, 6, 6), transposed=True),
         Diagonal(seeded_normal(3, 144)), _conv(4, 3, 6, 1, padding=1, padding_mode="circular")],
        (2, 8, 8), (3, 6, 6)),
    "residual block": lambda: (
        [Diagonal(seeded_normal(2, 108)), Sum([Product([Diagonal(torch.ones(1, 108))]),
                                               Product([_conv(3, 3, 6, 0, padding=1), Diagonal(seeded_normal(2, 108)),
                                                        _conv(3, 3, 6, 1, padding=1)])])], (3, 6, 6), (3, 6, 6)),
    "volumes": lambda: ([Convolution(seeded_normal(2, 3, 3, 3, 3), (3, 4, 5, 4), padding=1)], (2, 4, 5, 4),
                        (3, 4, 5, 4)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_only_the_order_of_coordinates_changes(name):
    factors, out_shape, in_shape = CHAINS[name]()
    product = Product(factors)
    found = channels_last(product)
    assert found is not product
    out_order, in_order = _order(out_shape), _order(in_shape)
    num_inputs = product.shape[0]
    right, left = seeded_normal(num_inputs, product.shape[2], 2), seeded_normal(num_inputs, product.shape[1], 2)
    tolerance = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(found @ right[:, in_order], (product @ right)[:, out_order], **tolerance)
    torch.testing.assert_close(found.rmatmat(left[:, out_order]), product.rmatmat(left)[:, in_order], **tolerance)


def test_what_gains_nothing_stays_as_it_is():
    double = Product([_conv(2, 2, 4, 0).with_weight(torch.ones(2, 2, 3, 3, dtype=torch.float64))])
    line = Product([Convolution(seeded_normal(2, 2, 3), (2, 5))])
    mixed = Product([Matrix(seeded_normal(3, 8)), _conv(2, 2, 4, 0)])
    for product in (double, line, mixed, mixed.factors[0]):
        assert channels_last(product) is product
