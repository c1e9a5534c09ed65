import math

import pytest
import torch

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory import finite_width, resolved_share


@pytest.mark.parametrize(("name", "mean", "variance"), [("linear", -0.1, 0.2), ("relu", -0.25, 0.5)])
def test_norms_scatter_by_the_reference_variance(name, mean, variance):
    guidance = finite_width(name, [200] * 20, q=1.0)
    assert (guidance.log_norm_mean, guidance.log_norm_variance) == pytest.approx((mean, variance))


def test_norms_of_linear_networks_scatter_so():
    nets, widths, generator = 300, [40, 80, 60], torch.Generator().manual_seed(0)
    vector = torch.zeros(nets, 50, 1, dtype=torch.float64)
    vector[:, 0] = 1.0
    for width in widths:
        weight = torch.randn(nets, width, vector.shape[1], generator=generator, dtype=torch.float64)
        vector = weight @ vector / math.sqrt(width)  # keeps the mean squared norm at 1
    logs = vector.square().sum((1, 2)).log()
    guidance = finite_width("linear", widths, q=1.0)
    assert float(logs.var()) == pytest.approx(guidance.log_norm_variance, rel=0.25)  # by chance sqrt(2 / 300)
    assert float(logs.mean()) == pytest.approx(guidance.log_norm_mean, abs=0.06)


def test_the_edge_and_the_mean_square_of_linear_networks_are_as_guided():
    nets, width, depth, generator = 12, 100, 8, torch.Generator().manual_seed(0)
    product = torch.eye(width, dtype=torch.float64).expand(nets, -1, -1)
    for _ in range(depth):
        product = torch.randn(nets, width, width, generator=generator, dtype=torch.float64) @ product / math.sqrt(width)
    values = torch.linalg.svdvals(product)
    guidance = finite_width("linear", [width] * depth, q=1.0)
    edge = math.sqrt((depth + 1) ** (depth + 1) / depth**depth)
    assert float(values[:, 0].mean()) / edge == pytest.approx(guidance.edge_factor, abs=0.04)
    low, high = guidance.mean_square_std
    assert 0.5 * low < float(values.square().mean(1).std()) < 1.5 * high


@pytest.mark.parametrize(("dtype", "shares"), [
    ("float32", [0.97, 0.83, 0.58, 0.34]), ("float64", [1.0, 0.99, 0.88, 0.65]),
])
def test_the_resolved_share_has_its_reference_values(dtype, shares):
    assert [resolved_share(L, dtype=dtype) for L in (8, 16, 32, 64)] == pytest.approx(shares, abs=0.006)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: finite_width("relu", [], q=1.0), ArgumentError, "`widths` must name at least one layer; got none"),
    (lambda: finite_width("relu", [5, 0], q=1.0), ArgumentError, "`widths` must be a finite number that is positive"),
    (lambda: finite_width(lambda x: 0 * x, [5], q=1.0), ArgumentError, "`activation` must have a slope; got <lambda>"),
    (lambda: resolved_share(0), ArgumentError, "`num_layers` must be a finite number that is positive; got 0"),
    (lambda: resolved_share(3, dtype="float16"), UnknownNameError, "`dtype` must be one of float32, float64; got 'flo"),
])
def test_numbers_out_of_their_domain_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
