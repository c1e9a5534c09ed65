import math
from functools import partial

import pytest
import torch

from jacprobe.errors import ArgumentError
from jacprobe.theory import activation, residual_gradient_map, residual_length_map, residual_output_map

DRAW = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_random_blocks_before_and_after_the_activation_follow_the_moments(name):
    nets, width, phi = 30, 300, activation(name)
    before = after = DRAW(nets, width, 1)
    inside = DRAW(nets, width, 1)
    q, mean, mean_square, growth = 1.0, 0.0, 1.0, 1.0
    for _ in range(3):
        weight = DRAW(nets, width, width) * math.sqrt(1.5 / width)
        bias = DRAW(nets, width, 1) * math.sqrt(0.1)
        growth *= residual_gradient_map(name, q, sigma_w2=1.5, scale=0.5)
        inside = inside + 0.5 * torch.from_numpy(phi.slopes(before.numpy())) * (weight.mT @ inside)
        before = before + 0.5 * (weight @ phi.function(before) + bias)
        after = after + 0.5 * phi.function(weight @ after + bias)
        q = residual_length_map(name, q, sigma_w2=1.5, sigma_b2=0.1, scale=0.5)
        mean, mean_square = residual_output_map(name, mean, mean_square, sigma_w2=1.5, sigma_b2=0.1, scale=0.5)
    assert float(before.square().mean()) == pytest.approx(q, rel=0.04)
    assert float(after.mean()) == pytest.approx(mean, abs=0.03)
    assert float(after.square().mean()) == pytest.approx(mean_square, rel=0.04)
    assert float(inside.square().mean()) == pytest.approx(growth, rel=0.06)


def test_the_scale_one_over_root_depth_bounds_the_growth_by_an_exponential():
    growth = residual_gradient_map("relu", 1.0, sigma_w2=2.0, scale=100**-0.5) ** 100
    assert growth == pytest.approx(1.01**100)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: residual_length_map("tanh", -1.0, sigma_w2=1.0), "`q` must be a finite number that is at least 0"),
    (lambda: residual_length_map("tanh", 1.0, sigma_w2=0.0), "`sigma_w2` must be a finite number that is positive"),
    (lambda: residual_length_map("tanh", 1.0, sigma_w2=1.0, scale=-1.0), "`scale` must be a finite number that is"),
    (lambda: residual_output_map("tanh", 2.0, 1.0, sigma_w2=1.0), "`mean_square` must be at least the square of"),
    (lambda: residual_output_map("tanh", 0.0, -1.0, sigma_w2=1.0), "`mean_square` must be a finite number that is at"),
    (lambda: residual_gradient_map("tanh", 1.0, sigma_w2=-1.0), "`sigma_w2` must be a finite number that is positive"),
])
def test_numbers_out_of_their_domain_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
